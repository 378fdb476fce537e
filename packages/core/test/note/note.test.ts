import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import {
  emptyRoot,
  hexEncode,
  openCheckpoint,
  openNote,
  parsePublicKey,
  parseCheckpointText,
  type Signer,
  signCheckpoint,
  signNote,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";

function signerOf(fill: string): Signer {
  const der = Buffer.from(`302e020100300506032b657004220420${fill.repeat(32)}`, "hex");
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return { publicKey: parsePublicKey(spki), sign: (message) => sign(null, message, key) };
}

const code = (code: string): unknown => expect.objectContaining({ code });
const [log, other] = [signerOf("01"), signerOf("02")];
const ORIGIN = "sovereign/ins_x/tenant/acme";

describe("a signed note", () => {
  const note = signNote("text\n", "name", log);
  const key = { name: "name", key: log.publicKey };

  it("opens with its key, among signatures of strangers", () => {
    expect(openNote(note, [key])).toMatchObject({ text: "text\n" });
    const stranger = signNote("text\n", "stranger", other).split("\n\n")[1] ?? "";
    expect(openNote(`${note}${stranger}`, [key]).signers).toEqual([key]);
  });

  it.each([
    ["another text", note.replace("text", "next")],
    ["a signature of another key under that name", signNote("text\n", "name", other)],
  ])("is refused with %s", (_, changed) => {
    expect(() => openNote(changed, [key])).toThrow(code("ERR_NOTE_SIGNATURE"));
  });

  it.each([
    "",
    "text",
    "text\n\n",
    "text\n\n— name\n",
    "text\n\n— name %%\n",
    "te\txt\n\n— n AAAA\n",
    "text\n\n— name AAAA\n",
  ])("is malformed as %j", (text) => {
    expect(() => openNote(text, [key])).toThrow(code("ERR_NOTE_MALFORMED"));
  });
});

describe("a checkpoint", () => {
  const note = signCheckpoint({ origin: ORIGIN, size: 0, root: emptyRoot() }, log);

  it("opens for its own log alone", () => {
    const { checkpoint } = openCheckpoint(note, ORIGIN, [log.publicKey]);
    expect(checkpoint).toMatchObject({ origin: ORIGIN, size: 0 });
    expect(hexEncode(checkpoint.root)).toBe(hexEncode(emptyRoot()));
    expect(() => openCheckpoint(note, "another/log", [log.publicKey])).toThrow(
      code("ERR_NOTE_SIGNATURE"),
    );
    const lying = signNote(`another/log\n1\n${Buffer.alloc(32).toString("base64")}\n`, ORIGIN, log);
    expect(() => openCheckpoint(lying, ORIGIN, [log.publicKey])).toThrow(
      code("ERR_CHECKPOINT_MALFORMED"),
    );
  });

  it.each([
    "",
    "o\n1\n",
    "o\n01\nAAAA\n",
    "o\n1\nAAAA\n",
    "o\n-1\nAAAA\n",
    "o\n99999999999999999\nAAAA\n",
  ])("is malformed as %j", (text) => {
    expect(() => parseCheckpointText(text)).toThrow(code("ERR_CHECKPOINT_MALFORMED"));
  });
});
