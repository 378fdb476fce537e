import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { describeWatch } from "../lease-text.ts";
import type { ScramServeEvent } from "../../services/index.ts";

const LISTEN = "127.0.0.1:7433";

interface ServeFlags {
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly insecurePlaintext?: boolean;
  readonly host?: readonly string[];
}

const HELP = `
Takes signed orders by POST /v1/scram/orders, tells the state by GET /v1/scram/status, and a monitor
whether work may run by GET /healthz. An order's signatures are its right: there are no passwords.
A reset is not taken over HTTP. Ctrl-C ends the server; what runs goes on, and so does the sentinel.
With DATABASE_URL it keeps a "sovereign nodes watch" beside it, so that this machine hears of the others.`;

export function serveCommand(scram: Command, { services, output, signal }: CommandContext): void {
  scram
    .command("serve")
    .description("take signed orders over HTTP")
    .option("--listen <address>", "ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH", LISTEN)
    .option("--tls-cert <file>", "certificate chain, as PEM; needed to serve other machines")
    .option("--tls-key <file>", "its key, as PEM")
    .option("--client-ca <file>", "let in only those whom this certified, as PEM")
    .option("--host <name...>", "names that the server goes by, besides its certificate's")
    .option(
      "--insecure-plaintext",
      "serve other machines without TLS: orders can be read on the way",
    )
    .addHelpText("after", HELP)
    .action(async (flags: ServeFlags) => {
      await services.scramServe({
        listen: flags.listen,
        tlsCert: flags.tlsCert ?? null,
        tlsKey: flags.tlsKey ?? null,
        clientCa: flags.clientCa ?? null,
        plaintext: flags.insecurePlaintext ?? false,
        names: flags.host ?? [],
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
      return `listening: ${event.url}${event.keys === 0 ? none : ""}`;
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
    case "stopped": {
      const { event: told } = event.outcome as { event: Record<string, unknown> };
      return `${String(told["scram_state"])}  ${String(told["event_id"])}  ${String(told["reason"])}`;
    }
  }
}
