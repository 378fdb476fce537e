import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { checkSignature, type KeyRecord, utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keystore } from "../../src/authority/index.ts";
import { closeSockets, RUBBISH } from "../support/rubbish.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-keys-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const WINDOW = { notBefore: "2026-01-01T00:00:00.000Z", notAfter: null };
const keys = (): string => join(folder, "keys");
const open = (passphrase: string | null = null): Promise<Keystore> =>
  Keystore.open({ folder: keys(), passphrase });
const fileOf = (): string => join(keys(), readdirSync(keys())[0] as string);
const create = async (passphrase: string | null = null): Promise<KeyRecord> =>
  (await open(passphrase)).create("role", "trainer", WINDOW);

describe("the keystore", () => {
  it("keeps a key in a file of mode 0600 in a folder of mode 0700, and signs with it", async () => {
    const record = await create();
    expect(statSync(keys()).mode & 0o777).toBe(0o700);
    expect(statSync(fileOf()).mode & 0o777).toBe(0o600);
    const signer = await (await open()).signer(record.key_id);
    const message = utf8Encode("message");
    expect(checkSignature(signer.publicKey, message, signer.sign(message))).toBe(true);
    expect(await (await open()).records()).toEqual([record]);
  });

  it("encrypts with a passphrase, and opens with that one alone", async () => {
    const record = await create("correct horse");
    expect(readFileSync(fileOf(), "utf8")).not.toContain('"seed"');
    expect(await (await open("correct horse")).signer(record.key_id)).toBeDefined();
    for (const passphrase of ["wrong horse", null]) {
      const store = await open(passphrase);
      await expect(store.signer(record.key_id)).rejects.toMatchObject({
        code: "ERR_KEY_PASSPHRASE",
      });
    }
  });

  it("refuses to lie in a git work tree", async () => {
    mkdirSync(join(folder, ".git"));
    await expect(open()).rejects.toMatchObject({ code: "ERR_KEYSTORE_IN_WORK_TREE" });
  });

  it("refuses a folder or a file that others may read", async () => {
    const record = await create();
    chmodSync(fileOf(), 0o644);
    await expect((await open()).signer(record.key_id)).rejects.toMatchObject({
      code: "ERR_KEYSTORE_UNSAFE",
    });
    chmodSync(keys(), 0o755);
    await expect(open()).rejects.toMatchObject({ code: "ERR_KEYSTORE_UNSAFE" });
  });

  it("refuses a file that is no key, without telling what is in it", async () => {
    const record = await create();
    const secret = JSON.parse(readFileSync(fileOf(), "utf8")) as { secret: { seed: string } };
    writeFileSync(fileOf(), `{"seed": "${secret.secret.seed}" `);
    const failure = await (await open()).signer(record.key_id).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_KEY_FILE_MALFORMED" });
    expect(String(failure)).not.toContain(secret.secret.seed);
  });

  it("refuses a secret that does not belong to its public key", async () => {
    const record = await create();
    const text = readFileSync(fileOf(), "utf8");
    const { secret } = JSON.parse(text) as { secret: { seed: string } };
    writeFileSync(fileOf(), text.replace(secret.seed, Buffer.alloc(32, 7).toString("base64")));
    await expect((await open()).signer(record.key_id)).rejects.toMatchObject({
      code: "ERR_KEY_FILE_MALFORMED",
    });
  });

  it("says which key is missing, and when its folder cannot be made", async () => {
    await expect((await open()).signer("0".repeat(64))).rejects.toMatchObject({
      code: "ERR_KEY_NOT_FOUND",
    });
    writeFileSync(join(folder, "file"), "");
    const bad = Keystore.open({ folder: join(folder, "file", "keys"), passphrase: null });
    await expect(bad).rejects.toMatchObject({ code: "ERR_KEYSTORE_UNAVAILABLE" });
  });

  it.each(["backup.key.json", "operator-alice-0123456789abcdef.key.json", "notes.txt"])(
    "leaves aside whatever is called %s, names it, and goes on with every other key",
    async (name) => {
      const record = await create();
      await (await open()).settle(() => true, 0);
      const path = join(keys(), name);
      const before = readFileSync(fileOf());
      for (const rubbish of RUBBISH) {
        await rubbish.make(path, before);
        const store = await open();
        const wrong = `${name}: ${rubbish.name}`;
        expect(await store.records(), wrong).toContainEqual(record);
        expect(await store.signer(record.key_id), wrong).toBeDefined();
        const strays = await store.strays();
        expect(
          strays.map(({ path: stray }) => stray),
          wrong,
        ).toEqual([path]);
        expect(strays[0]?.why, wrong).toMatch(/left aside|Type: chmod|belongs to user|Cannot use/);
        await store.create("role", "another", WINDOW).then(({ key_id }) => store.discard(key_id));
        closeSockets();
        rmSync(path, { recursive: true, force: true });
      }
    },
  );

  it("takes another copy of a key where the first is spoilt", async () => {
    const record = await create();
    const spoilt = join(keys(), `a-${record.key_id.slice(0, 16)}.key.json`);
    const text = readFileSync(fileOf(), "utf8");
    const { secret } = JSON.parse(text) as { secret: { seed: string } };
    writeFileSync(spoilt, text.replace(secret.seed, Buffer.alloc(32, 7).toString("base64")), {
      mode: 0o600,
    });
    expect(await (await open()).signer(record.key_id)).toBeDefined();
  });

  it.each(["Release Manager", "../x", "x/../../y", "", "a\u0000b", "alicé", "a".repeat(64)])(
    "makes no key for %j, and no file",
    async (name) => {
      const store = await open();
      const made = store.create("role", name, WINDOW);
      await expect(made).rejects.toMatchObject({ code: "ERR_KEY_NAME" });
      expect(readdirSync(keys())).toEqual([]);
    },
  );

  it("completes what was enrolled, and takes away what never was, after its time", async () => {
    const [kept, enrolled, lost] = [await create(), await create(), await create()];
    const store = await open();
    await store.settle((keyId) => keyId === kept.key_id, 0);
    const half = join(keys(), `role-x-${"0".repeat(16)}.key.json.pending.new`);
    writeFileSync(half, "{", { mode: 0o600 });
    const isEnrolled = (keyId: string): boolean => [kept.key_id, enrolled.key_id].includes(keyId);
    const namesOf = (): string[] => readdirSync(keys()).sort();
    const file = ({ key_id }: KeyRecord): string => `role-trainer-${key_id.slice(0, 16)}.key.json`;
    await store.settle(isEnrolled, statSync(half).mtimeMs + 60_000);
    const lostFile = `${file(lost)}.pending`;
    const settled = [file(kept), file(enrolled)];
    expect(namesOf()).toEqual([...settled, lostFile, basename(half)].sort());
    await store.settle(isEnrolled, statSync(half).mtimeMs + 660_000);
    expect(namesOf()).toEqual(settled.sort());
  });

  it("tells passphrases apart that are no text, and opens what was sealed by their text", async () => {
    const bytes = (last: number): Buffer => Buffer.from([...Buffer.from("passphrase"), last]);
    const openWith = (passphrase: Buffer | string): Promise<Keystore> =>
      Keystore.open({ folder: keys(), passphrase });
    const record = await (await openWith(bytes(0xff))).create("role", "trainer", WINDOW);
    await expect((await openWith(bytes(0xfe))).signer(record.key_id)).rejects.toMatchObject({
      code: "ERR_KEY_PASSPHRASE",
    });
    const before = await (await openWith(bytes(0xff).toString("utf8"))).create("role", "b", WINDOW);
    expect(await (await openWith(bytes(0xff))).signer(before.key_id)).toBeDefined();
  });

  it("is refused in a work tree that a link leads to", async () => {
    mkdirSync(join(folder, "tree", ".git"), { recursive: true });
    symlinkSync(join(folder, "tree"), join(folder, "link"));
    const linked = Keystore.open({ folder: join(folder, "link", "new", "keys"), passphrase: null });
    await expect(linked).rejects.toMatchObject({ code: "ERR_KEYSTORE_IN_WORK_TREE" });
    expect(readdirSync(join(folder, "tree"))).toEqual([".git"]);
  });

  it("is not made for one who only opens what is there", async () => {
    const gone = join(folder, "gone");
    const opened = Keystore.open({ folder: gone, passphrase: null, make: false });
    await expect(opened).rejects.toMatchObject({ code: "ERR_KEYSTORE_UNAVAILABLE" });
    expect(existsSync(gone)).toBe(false);
  });
});
