// bittorrent-tracker with all of its front ends on one port of 127.0.0.1. Says on standard
// output when it listens, and ends when standard input does. Usage: node server.mjs PORT
import Server from 'bittorrent-tracker/server'

// Without statistics, which nobody looks at here, and which would only cost it something.
const server = new Server({ http: true, ws: true, stats: false })
server.on('error', (error) => { console.error(error.message); process.exit(1) })
server.on('warning', (error) => console.error(error.message))
server.listen(Number(process.argv[2]), { http: '127.0.0.1', udp: '127.0.0.1', udp6: '::1' }, () => console.log('listening'))
process.stdin.on('end', () => process.exit()).resume()
