// The reference WebSocket tracker on 127.0.0.1. Prints the port it listens on.
// Usage: node tracker.mjs [port]
import { Server } from 'bittorrent-tracker'

const server = new Server({ http: false, udp: false, ws: true, stats: false })
server.on('error', (error) => console.error(error.message))
server.on('warning', (error) => console.error(error.message))
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ port: server.ws.address().port }))
})
