import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkSignature, type KeyRecord, utf8Encode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keystore } from "../../src/authority/index.ts";

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

  it("is not made for one who only opens what is there", async () => {
    const gone = join(folder, "gone");
    const opened = Keystore.open({ folder: gone, passphrase: null, make: false });
    await expect(opened).rejects.toMatchObject({ code: "ERR_KEYSTORE_UNAVAILABLE" });
    expect(existsSync(gone)).toBe(false);
  });
});
