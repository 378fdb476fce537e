import type { Command } from "commander";
import type { ServeEvent } from "../../api/index.ts";
import { wholeNumber } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { addListenFlags, type ListenFlags, listenOptions } from "../listen-flags.ts";
import { oneLine } from "../output.ts";

const LISTEN = "127.0.0.1:7434";

interface ServeFlags extends ListenFlags {
  readonly rate: number;
  readonly drain: number;
  readonly worker: boolean;
}

const HELP = `
GET /openapi.json describes the API. A caller has a token of "sovereign tokens create". A run is under the
policy policies/TENANT.yaml in the data folder: no caller brings a policy. Without --no-worker,
runs are carried out in this process. Ctrl-C ends it: runs at work get --drain seconds, and the next "sovereign
serve" goes on with the rest.
The kill switch has a server of its own: "sovereign scram serve".`;

/** The HTTP API. */
export function serveApiCommand(program: Command, context: CommandContext): void {
  const { services, output, signal } = context;
  const serve = program
    .command("serve")
    .description("serve the HTTP API, and carry out the runs that are submitted to it");
  addListenFlags(serve, LISTEN, "use the tokens")
    .option(
      "--rate <count>",
      "requests that a token may make in a second, 1 to 10000",
      wholeNumber(1, 10_000),
      50,
    )
    .option(
      "--drain <seconds>",
      "how long runs at work go on after Ctrl-C, 0 to 3600",
      wholeNumber(0, 3600),
      30,
    )
    .option("--no-worker", "leave runs to the workers: sovereign worker")
    .addHelpText("after", HELP)
    .action(async (flags: ServeFlags) => {
      // Loaded by whoever serves alone.
      const { serveApi } = await import("../../api/index.ts");
      await serveApi(services, {
        ...listenOptions(flags),
        perSecond: flags.rate,
        drainMs: flags.drain * 1000,
        carries: flags.worker,
        signal,
        onEvent: (event) => {
          if (output.json) output.printJson(event);
          else output.print(lineOf(event));
        },
      });
    });
}

function lineOf(event: ServeEvent): string {
  switch (event.event) {
    case "listening":
      return oneLine`listening: ${event.url}`;
    case "ending":
      return "ending: runs at work are waited for";
    case "fault":
      return oneLine`a request failed: ${event.why}`;
    case "oidc.unavailable":
      return event.why;
    case "run.ended":
      return oneLine`${event.run ?? ""} of ${event.tenant} has ended, or waits for a person`;
    case "run.recovered":
      return oneLine`${event.run ?? ""} of ${event.tenant} goes on`;
    case "run.lost":
      return oneLine`${event.run ?? "a run"} of ${event.tenant} stopped: ${event.why ?? ""}`;
  }
}
