// Print what the daemon hears: npm install && node subscribe.mjs [ENDPOINT [COUNT [SERVER_KEY KEY_FILE]]]
//
// A daemon on another machine wants keys: SERVER_KEY is what `streamer keys show --plain` prints there, KEY_FILE the
// own.key that `streamer keys new` makes here.
import { readFileSync } from "node:fs"
import { Subscriber } from "zeromq"

const [endpoint = "tcp://127.0.0.1:7790", count = "0", serverKey, keyFile] = process.argv.slice(2)
const socket = new Subscriber()
if (serverKey && keyFile) {
  const text = readFileSync(keyFile, "utf8")
  const key = (name) => text.match(new RegExp(`^\\s*${name}\\s*=\\s*"(.{40})"`, "m"))[1]
  socket.curveServerKey = serverKey
  socket.curvePublicKey = key("public-key")
  socket.curveSecretKey = key("secret-key")
}
socket.connect(endpoint)
socket.subscribe("keyword.", "sound.")

let heard = 0
for await (const [topic, json] of socket) {
  const event = JSON.parse(json.toString())
  if (event.v > 1) throw new Error(`${topic}: version ${event.v} is newer than this program`)
  console.log(event.stream, event.kind, event.label, event.phase, event.score)
  if (++heard === Number(count)) break
}
socket.close()
