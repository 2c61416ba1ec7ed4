// The debug package without its output: webtorrent calls it for every block.
const silent = () => {}
silent.enabled = false
export default () => silent
