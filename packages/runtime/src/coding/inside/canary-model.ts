import { readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

/**
 * Runs in the sandbox before the agent's work: a model that asks for one tool call, and then ends.
 * What it says was written by us. So each run proves that the agent asks before it acts.
 */
const [port = "", folder = ""] = process.argv.slice(2);
const answers = ["first", "second"].map((name) => readFileSync(join(folder, name)));
let asked = 0;

const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.method !== "POST") {
      response.end();
      return;
    }
    const answer = answers[Math.min(asked, 1)];
    asked += 1;
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(answer);
  });
});
server.listen(Number(port), "127.0.0.1", () => {
  writeSync(1, "ready\n");
});
