// A WebSocket tracker on loopback: prints its port. Ends with standard input.
import { Server } from 'bittorrent-tracker'
const server = new Server({ http: false, udp: false, ws: true, stats: false })
server.on('error', (error) => { console.error(error.message); process.exit(1) })
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log(server.ws.address().port))
process.stdin.on('end', () => process.exit()).resume()
