import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { once } from "node:events";
import { dirname, join } from "node:path";

/** Larger than any memory: who reads it whole, or maps it, does not come back. */
const HUGE_BYTES = 64 * 2 ** 30;

/** Something that nobody of us wrote, in the place of a file of ours. */
export interface Rubbish {
  readonly name: string;
  /** @param before what stood there; null where nothing did */
  readonly make: (path: string, before: Buffer | null) => void | Promise<void>;
}

const sockets: Server[] = [];

const file = (path: string, text: string | Buffer, mode = 0o600): void => {
  writeFileSync(path, text, { mode });
};

/** Each kind of thing that can stand where a file is expected. */
export const RUBBISH: readonly Rubbish[] = [
  {
    name: "an empty file",
    make: (path) => {
      file(path, "");
    },
  },
  {
    name: "half a file",
    make: (path, before) => {
      file(path, before?.subarray(0, before.length >> 1) ?? '{"format":"sover');
    },
  },
  {
    name: "bytes",
    make: (path) => {
      file(path, Buffer.from([0xff, 0x00, 0x1b, 0x5b, 0x80]));
    },
  },
  {
    name: "a huge file",
    make: (path) => {
      file(path, "");
      truncateSync(path, HUGE_BYTES);
    },
  },
  {
    name: "a file of a later version",
    make: (path, before) => {
      const text = before?.toString("latin1").replaceAll('"1.0.0"', '"9.0.0"') ?? "";
      file(path, text === before?.toString("latin1") ? '{"schema_version":"9.0.0"}' : text);
    },
  },
  {
    name: "a file that others may read and write",
    make: (path, before) => {
      file(path, before ?? "{}");
      chmodSync(path, 0o666);
    },
  },
  {
    name: "a link to nothing",
    make: (path) => {
      symlinkSync("/nowhere/at/all", path);
    },
  },
  {
    name: "a link to itself",
    make: (path) => {
      symlinkSync(path, path);
    },
  },
  {
    name: "a link to an endless device",
    make: (path) => {
      symlinkSync("/dev/zero", path);
    },
  },
  { name: "a pipe", make: (path) => void execFileSync("mkfifo", [path]) },
  {
    name: "a link to a pipe",
    make: (path) => {
      const pipe = join(dirname(dirname(path)), `pipe-${sockets.length}-${process.pid}`);
      if (!existsSync(pipe)) execFileSync("mkfifo", [pipe]);
      symlinkSync(pipe, path);
    },
  },
  {
    name: "a socket",
    make: async (path) => {
      const server = createServer().listen(path);
      sockets.push(server);
      await once(server, "listening");
    },
  },
  { name: "a folder", make: (path) => void mkdirSync(join(path, "inside"), { recursive: true }) },
  ...(process.getuid?.() === 0
    ? [
        {
          name: "a file of another user",
          make: (path: string, before: Buffer | null) => {
            file(path, before ?? "{}");
            chownSync(path, 65_534, 65_534);
          },
        },
        {
          name: "a device",
          make: (path: string) => void execFileSync("mknod", [path, "c", "1", "5"]),
        },
      ]
    : []),
];

/** What stood there before, for {@link Rubbish.make}. */
export function contentOf(path: string): Buffer | null {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(path) : null;
}

export function closeSockets(): void {
  for (const server of sockets.splice(0)) server.close();
}
