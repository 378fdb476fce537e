import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { describeWatch } from "../lease-text.ts";
import { type NamedFile, writingNamed } from "../../system/index.ts";
import { oneLine, table } from "../output.ts";

export function nodesCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const nodes = program
    .command("nodes")
    .description("several machines as one installation, on one PostgreSQL (DATABASE_URL)");

  nodes
    .command("export <file>")
    .description("write the file that another machine needs to join; it holds no secret")
    .action(async (file: string) => {
      const write = async (out: NamedFile): Promise<void> => {
        out.write(`${JSON.stringify(await services.exportNode(), null, 2)}\n`);
      };
      // The data folder has a file of the name that people choose, and it holds more.
      await writingNamed(file, write, { fresh: true });
      if (output.json) output.printJson({ file });
      else output.print(oneLine`installation: ${file}`);
    });

  nodes
    .command("join <file>")
    .description("make this empty data folder a node of the installation that the file names")
    .action(async (file: string) => {
      const { installation } = await services.joinNode(file);
      if (output.json) output.printJson({ installation });
      else {
        output.print(oneLine`this data folder belongs to ${installation} from its next use on`);
        output.note("copy to its keys/ the key files that this machine may use, and no other");
      }
    });

  nodes
    .command("watch")
    .description("read the other machines' orders while no other command runs here; Ctrl-C ends it")
    .option(
      "--until-eof",
      "also end when standard input ends; for a program that starts this command",
    )
    .action(async (flags: { untilEof?: boolean }) => {
      const signals = [context.signal, ...(flags.untilEof === true ? [inputEnd()] : [])];
      try {
        await services.watchNodes(AbortSignal.any(signals), (event) => {
          if (output.json) output.printJson(event);
          else output.print(describeWatch(event));
        });
      } finally {
        // Waited for no more: it would keep the process.
        if (flags.untilEof === true) process.stdin.destroy();
      }
    });

  nodes
    .command("list")
    .description("list every node that joined, what it stopped, and if it watches now")
    .action(async () => {
      const found = await services.listNodes();
      if (output.json) {
        for (const node of found) output.printJson(node);
        return;
      }
      const rows = found.map((node) => [
        `${node.node_id}${node.here ? " (here)" : ""}`,
        node.host,
        node.joined_at,
        node.last_seen ?? "never",
        node.watching > 0 ? "watches" : "not connected",
        node.lease_left_ms === null ? "" : `${node.lease_left_ms} ms`,
        node.stops.join(" ") || "armed",
      ]);
      const head = ["NODE", "HOST", "JOINED", "LAST RECORD", "NOW", "LEASE", "STOPS"];
      output.print(table([head, ...rows]));
    });
}

/** Aborted when whoever started us is gone, or lets us go. */
function inputEnd(): AbortSignal {
  const controller = new AbortController();
  const end = (): void => {
    controller.abort();
  };
  process.stdin.on("end", end).on("error", end).resume();
  return controller.signal;
}
