import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { describeWatch } from "../lease-text.ts";
import type { ScramServeEvent } from "../../services/index.ts";
import { addListenFlags, type ListenFlags, listenOptions } from "../listen-flags.ts";
import { oneLine } from "../output.ts";

const LISTEN = "127.0.0.1:7433";

const HELP = `
POST /v1/scram/orders takes a signed order. GET /v1/scram/status shows the state. GET /healthz shows
a monitor if work may run. There are no passwords: an order's signatures authorise it. The server
accepts no reset. Ctrl-C ends the server; runs and the sentinel continue. With DATABASE_URL the
server also runs "sovereign nodes watch", so that this machine reads the other machines' orders.`;

export function serveCommand(scram: Command, { services, output, signal }: CommandContext): void {
  const serve = scram.command("serve").description("accept signed orders over HTTP");
  addListenFlags(serve, LISTEN, "read the orders")
    .addHelpText("after", HELP)
    .action(async (flags: ListenFlags) => {
      await services.scramServe({
        ...listenOptions(flags),
        signal,
        onEvent: (event) => {
          if (output.json) output.printJson(event);
          else output.print(lineOf(event));
        },
      });
    });
}

function lineOf(event: ScramServeEvent): string {
  switch (event.event) {
    case "listening": {
      const none = "  (no operator or architect is enrolled: every order will be refused)";
      return oneLine`listening: ${event.url}${event.keys === 0 ? none : ""}`;
    }
    case "sentinel.lost":
      return "the sentinel does not answer: orders wait for the next one";
    case "sentinel.back":
      return "the sentinel is there";
    case "recorded":
      return "the ledger has it";
    case "watching":
    case "unheard":
    case "heard":
    case "unwatched":
      return describeWatch(event);
    case "failed":
      return oneLine`${FAILED[event.what]}: ${event.why}`;
    case "stopped": {
      const { event: told } = event.outcome as { event: Record<string, unknown> };
      return oneLine`${String(told["scram_state"])}  ${String(told["event_id"])}  ${String(told["reason"])}`;
    }
  }
}

const FAILED = {
  ledger: "the ledger has not taken the journal, and it is tried again",
  sentinel: "no sentinel can be had, and it is tried again",
  certificate: "the new certificate is not served, and the old one is",
} as const;
