import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folderContents, openContents, s3Contents } from "../../src/contents/index.ts";
import { ArtifactStore, type ContentStore } from "../../src/runs/index.ts";
import { Store } from "../../src/store/index.ts";
import { copyCluster } from "../support/prepared.ts";
import { S3_KEYS, startS3 } from "../support/s3-server.ts";

const folder = mkdtempSync(join(tmpdir(), "sov-contents-"));
let store: Store;
let s3: Awaited<ReturnType<typeof startS3>>;
beforeAll(async () => {
  copyCluster(join(folder, "postgres"));
  store = await Store.open({
    folder: join(folder, "postgres"),
    headsFolder: join(folder, "ledger"),
    databaseUrl: null,
  });
  s3 = await startS3(join(folder, "s3"));
});
afterAll(async () => {
  await s3.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const place = (endpoint = s3.endpoint) => ({
  endpoint,
  bucket: "contents",
  region: "us-east-1",
  prefix: "sovereign/",
});
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const large = new Uint8Array(2_500_000).map((_, at) => at * 31 + (at >> 9));

const kinds: [string, (tenant: string) => ContentStore][] = [
  ["the database", (tenant) => store.contents(tenant)],
  ["a folder", (tenant) => folderContents(join(folder, "shared"), tenant)],
  ["an S3 server", (tenant) => s3Contents(place(), S3_KEYS, tenant)],
];

describe.each(kinds)("contents in %s", (_name, of) => {
  it.each([
    ["a text", new TextEncoder().encode("text")],
    ["nothing", new Uint8Array()],
    ["one piece, exactly", large.subarray(0, 1024 * 1024)],
    ["several pieces", large],
  ])("are there for whoever asks, also after they were put twice: %s", async (_what, bytes) => {
    const digest = sha256(bytes);
    expect(await of("acme").get(digest)).toBeNull();
    await of("acme").put(digest, bytes);
    await of("acme").put(digest, bytes);
    const found = await of("acme").get(digest);
    expect(Buffer.compare(found ?? Buffer.from("?"), bytes)).toBe(0);
    expect(await of("other").get(digest)).toBeNull();
  });

  it("are whole, whoever puts the same at once", async () => {
    const bytes = large.subarray(7);
    const digest = sha256(bytes);
    await Promise.all(Array.from({ length: 6 }, () => of("acme").put(digest, bytes)));
    expect(sha256((await of("acme").get(digest)) ?? new Uint8Array())).toBe(digest);
  });

  it("bring an artifact to a node that has no file of it, and never other bytes", async () => {
    const here = new ArtifactStore(mkdtempSync(join(folder, "here-")), of("acme"));
    const ref = await here.put("s/answer.json", large, "application/json");
    const there = new ArtifactStore(mkdtempSync(join(folder, "there-")), of("acme"));
    expect(sha256(await there.get(ref))).toBe(ref.sha256);
    // It is a file of that node's from then on.
    const alone = new ArtifactStore(there.folder);
    expect(sha256(await alone.get(ref))).toBe(ref.sha256);
    const name = { name: "s/other.json", sha256: "ab".repeat(32) };
    await of("acme").put(name.sha256, Buffer.from("what somebody else put there"));
    await expect(there.get(name)).rejects.toMatchObject({ code: "ERR_ARTIFACT_CHANGED" });
    expect(readdirSync(join(there.folder, "s"))).toEqual(["answer.json"]);
    // A file that was changed here is not mended in silence.
    writeFileSync(join(there.folder, ref.name), "changed");
    await expect(there.get(ref)).rejects.toMatchObject({ code: "ERR_ARTIFACT_CHANGED" });
  });
});

describe("contents in a folder", () => {
  it.each([
    [
      "a link",
      (path: string) => {
        symlinkSync("/etc/passwd", path);
      },
    ],
    [
      "a folder",
      (path: string) => {
        mkdirSync(path);
      },
    ],
  ])("are never read through %s", async (_name, place) => {
    const root = mkdtempSync(join(folder, "hostile-"));
    const digest = sha256(Buffer.from(_name));
    mkdirSync(join(root, "acme", digest.slice(0, 2)), { recursive: true });
    place(join(root, "acme", digest.slice(0, 2), digest));
    await expect(folderContents(root, "acme").get(digest)).rejects.toMatchObject({
      code: "ERR_CONTENT_UNAVAILABLE",
    });
  });
});

/** A server that answers everything so. */
async function answering<T>(
  listener: RequestListener,
  work: (endpoint: string) => Promise<T>,
): Promise<T> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe("contents on an S3 server", () => {
  const digest = "12".repeat(32);

  it("need keys, which stand in no message", async () => {
    const keys = { accessKeyId: "S3RVER", secretAccessKey: "wrong-secret-7" };
    const asked = s3Contents(place(), keys, "acme").put(digest, Buffer.from("x"));
    const error: unknown = await asked.catch((one: unknown) => one);
    expect(error).toMatchObject({ code: "ERR_CONTENT_UNAVAILABLE" });
    expect(String(error)).toContain("403");
    expect(`${String(error)}${JSON.stringify(error)}`).not.toContain("wrong-secret-7");
    const content = { store: "s3", folder: null, ...place() } as const;
    const options = { content, shared: true, database: (tenant: string) => store.contents(tenant) };
    expect(() => openContents({ ...options, environment: {} })).toThrow(
      expect.objectContaining({
        code: "ERR_CONTENT_CREDENTIALS",
        message: expect.stringContaining("AWS_SECRET_ACCESS_KEY") as string,
      }),
    );
  });

  it.each<[string, RequestListener]>([
    ["sends us elsewhere", (_, to) => to.writeHead(307, { location: `${s3.endpoint}/` }).end()],
    [
      "breaks off",
      (_, to) => {
        to.writeHead(200, { "content-length": 100 }).write("half");
        to.destroy();
      },
    ],
    ["refuses", (_, to) => to.writeHead(403).end("no")],
    ["closes", (request) => request.destroy()],
  ])("is no other's, where that %s", async (_name, listener) => {
    const asked = answering(listener, (endpoint) =>
      s3Contents(place(endpoint), S3_KEYS, "acme").get(digest),
    );
    await expect(asked).rejects.toMatchObject({ code: "ERR_CONTENT_UNAVAILABLE" });
  });

  it("is refused where it answers without an end", async () => {
    const flood: RequestListener = (_, to) => {
      const part = Buffer.alloc(4 * 1024 * 1024);
      const more = (): void => {
        while (!to.destroyed && to.write(part));
        to.once("drain", more);
      };
      more();
    };
    const asked = answering(flood, (endpoint) =>
      s3Contents(place(endpoint), S3_KEYS, "acme").get(digest),
    );
    await expect(asked).rejects.toThrow(/more than 268435456 bytes/);
  });
});

describe("the setting content.store", () => {
  const content = {
    store: null,
    folder: null,
    endpoint: null,
    bucket: null,
    region: "r",
    prefix: "",
  };
  const database = (tenant: string): ContentStore => store.contents(tenant);
  it.each([
    [null, false, "none"],
    [null, true, "database"],
    ["database", false, "database"],
    ["none", true, "none"],
  ] as const)("%s, where the database is shared: %s, is %s", (set, shared, kept) => {
    const open = openContents({
      content: { ...content, store: set },
      environment: {},
      shared,
      database,
    });
    expect(open === null ? "none" : "database").toBe(kept);
  });
});
