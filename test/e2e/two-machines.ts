import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CuttableProxy } from "../../packages/runtime/test/support/cuttable-proxy.ts";
import {
  type PostgresServer,
  startPostgres,
} from "../../packages/runtime/test/support/postgres-server.ts";
import { type CliEnd, Installation } from "./cli.ts";

type Environment = Readonly<Record<string, string>>;

interface Line {
  readonly server: PostgresServer;
  readonly proxy: CuttableProxy;
}

/** Two data folders, and a server of which the second hears over a line that can be cut. */
export class TwoMachines {
  readonly a = new Installation({ processes: "one" });
  readonly b = new Installation({ processes: "one" });
  /** For what belongs to neither. */
  readonly place = new Installation();
  #line: Line | null = null;

  async start(): Promise<void> {
    const folder = join(this.place.home, "server");
    mkdirSync(folder);
    const server = await startPostgres(folder);
    this.#line = { server, proxy: await CuttableProxy.start(server.port) };
    for (const { home } of [this.a, this.b]) {
      writeFileSync(join(home, "config.yaml"), "scram: { lease_ms: 5000 }\n");
    }
  }

  get proxy(): CuttableProxy {
    return this.#started.proxy;
  }

  /** The first one's environment. */
  get near(): Environment {
    return { DATABASE_URL: this.#started.server.url };
  }

  /** The second one's. */
  get far(): Environment {
    const { server, proxy } = this.#started;
    return { DATABASE_URL: server.url.replace(`:${server.port}/`, `:${proxy.port}/`) };
  }

  async dispose(): Promise<void> {
    await this.proxy.close();
    await this.#started.server.stop();
    for (const one of [this.a, this.b, this.place]) await one.dispose();
  }

  get #started(): Line {
    if (this.#line === null) throw new Error("start it first");
    return this.#line;
  }
}

/** Run a command that must end well. */
export async function ok(one: Installation, args: string[], env: Environment): Promise<CliEnd> {
  const end = await one.run(args, env);
  if (end.code !== 0) throw new Error(`${args.join(" ")}: exit ${String(end.code)}, ${end.err}`);
  return end;
}
