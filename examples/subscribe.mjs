// Print what the daemon hears: npm install && node subscribe.mjs [ENDPOINT [COUNT]]
import { Subscriber } from "zeromq"

const [endpoint = "tcp://127.0.0.1:7790", count = "0"] = process.argv.slice(2)
const socket = new Subscriber()
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
