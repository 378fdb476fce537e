import { spawnSync } from "node:child_process";

/** One of the two cables of a node: an address at each end. */
interface Cable {
  /** The machine's end. */
  readonly here: string;
  readonly there: string;
}

/**
 * The network of a node that is another machine's: a network namespace, with one cable to the database
 * and one to everything else, each of which can be pulled. What was sent stays on its way, as between
 * machines: nobody is told that a connection is gone. It needs root.
 */
export class NodeNetwork {
  readonly #name = `sov-${process.pid}`;
  /** The third byte of the addresses, so that tests at once have their own. */
  readonly #net = process.pid % 250;

  static open(): NodeNetwork {
    const network = new NodeNetwork();
    network.#ip("netns", "add", network.#name);
    try {
      for (const [at, cable] of [network.database, network.world].entries())
        network.#lay(at, cable);
      return network;
    } catch (error) {
      network.close();
      throw error;
    }
  }

  get database(): Cable {
    return { here: `10.213.${this.#net}.1`, there: `10.213.${this.#net}.2` };
  }

  get world(): Cable {
    return { here: `10.213.${this.#net}.5`, there: `10.213.${this.#net}.6` };
  }

  /** What a process is started with to be on the node. */
  get within(): readonly string[] {
    return ["nsenter", `--net=/run/netns/${this.#name}`];
  }

  /** The database is out of reach; everything else is not. */
  pullDatabase(): void {
    this.#ip("link", "set", this.#end(0), "down");
  }

  plugDatabase(): void {
    this.#ip("link", "set", this.#end(0), "up");
  }

  close(): void {
    // The cables end with it.
    this.#ip("netns", "del", this.#name);
  }

  #end(cable: number): string {
    return `sov${process.pid}h${cable}`;
  }

  #lay(at: number, { here, there }: Cable): void {
    const [end, far, inside] = [this.#end(at), `sov${process.pid}n${at}`, ["-n", this.#name]];
    this.#ip("link", "add", end, "type", "veth", "peer", "name", far, "netns", this.#name);
    this.#ip("address", "add", `${here}/30`, "dev", end);
    this.#ip("link", "set", end, "up");
    this.#ip(...inside, "address", "add", `${there}/30`, "dev", far);
    for (const one of [far, "lo"]) this.#ip(...inside, "link", "set", one, "up");
  }

  #ip(...words: readonly string[]): void {
    const { status, stderr, error } = spawnSync("ip", words, { encoding: "utf8" });
    if (status === 0) return;
    const why = error?.message ?? stderr.trim();
    throw new Error(
      `ip ${words.join(" ")}: ${why}. It needs root and iproute2: sudo apt-get install iproute2`,
    );
  }
}
