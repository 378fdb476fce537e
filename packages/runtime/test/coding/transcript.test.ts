import { describe, expect, test } from "vitest";
import { secretsOf, Transcript } from "../../src/coding/transcript.ts";

function keptOf(line: string, secrets: readonly string[] = []): string {
  const transcript = new Transcript(secrets);
  transcript.push(line);
  return Buffer.from(transcript.bytes()).toString("utf8");
}

const CANARY = "canary-correct-horse";
/** Put together here, so that no scanner of sources takes them for real ones. */
const of = (...parts: string[]): string => parts.join("");

describe("a transcript", () => {
  test("has a known secret in none of its forms", () => {
    const forms = [
      CANARY,
      JSON.stringify({ command: `echo ${CANARY}` }),
      Buffer.from(CANARY).toString("base64"),
    ];
    for (const form of forms) {
      const kept = keptOf(`before ${form} after`, [CANARY]);
      expect(kept).not.toContain(CANARY);
      expect(kept).not.toContain(Buffer.from(CANARY).toString("base64").slice(0, 20));
      expect(kept).toMatch(/^before .*\[masked\].* after\n$/);
    }
    const quoted = 'with "quotes" and \\';
    expect(keptOf(JSON.stringify(quoted), [quoted])).toBe('"[masked]"\n');
  });

  test("looks through a line once, whatever begins in it and does not end", () => {
    const begin = of("-----BEGIN ", "PRIVATE KEY-----");
    const lines = ["eyJabcdefghij-".repeat(18_000), `${begin.repeat(9000)}-----END `];
    const before = performance.now();
    for (const line of lines) keptOf(line);
    expect(performance.now() - before).toBeLessThan(1000);
  });

  test.each<[string, string]>([
    ["as the password of a header", Buffer.from(`user:${CANARY}`).toString("base64")],
    ["as the second letter on of a text", Buffer.from(`me ${CANARY}, x`).toString("base64")],
    ["in hexadecimal digits", Buffer.from(CANARY).toString("hex")],
    ["in an address", encodeURIComponent(CANARY)],
    ["in JSON in JSON", JSON.stringify(JSON.stringify({ key: CANARY }))],
  ])("has no secret %s", (_how, form) => {
    expect(keptOf(`before ${form} after`, [CANARY])).toContain("[masked]");
    expect(keptOf(`before ${form} after`, [CANARY])).not.toContain(form);
  });

  test("has no secret with letters beyond ASCII, in the form of any writer of JSON", () => {
    const secret = 'pässwörd "quoted"';
    const ascii = JSON.stringify(secret).replace(/[^\x20-\x7e]/g, (one) => {
      return `\\u00${one.charCodeAt(0).toString(16)}`;
    });
    for (const form of [JSON.stringify(secret), ascii, JSON.stringify(ascii)]) {
      const kept = keptOf(form, [secret]);
      expect(kept).toContain("[masked]");
      expect(kept).not.toContain("quoted");
    }
  });

  test("has no line of a secret of several lines, nor one with spaces at its ends", () => {
    const secret = "first-line-of-it\nsecond-line-of-it\n";
    expect(keptOf("x second-line-of-it x", [secret])).toBe("x [masked] x\n");
    expect(keptOf("x my-own-secret x", [" my-own-secret\n"])).toBe("x [masked] x\n");
  });

  test("has nothing of a secret through which a long line is cut", () => {
    for (const before of [256 * 1024 - 5, 256 * 1024 - CANARY.length + 1]) {
      const line = "a b ".repeat(70_000).slice(0, before) + CANARY;
      expect(keptOf(line, [CANARY])).not.toContain(CANARY.slice(0, 5));
    }
  });

  test("has no line of a private key that is printed line by line", () => {
    const transcript = new Transcript([]);
    const lines = [
      "-----BEGIN PRIVATE KEY-----",
      "00ff00ff",
      "short",
      "-----END PRIVATE KEY----- x",
    ];
    for (const line of ["before", ...lines, "after"]) transcript.push(line);
    const kept = Buffer.from(transcript.bytes()).toString("utf8").split("\n");
    expect(kept).toEqual([
      "before",
      ...lines.map((_, at) => (at < 3 ? "[masked]" : "[masked] x")),
      "after",
      "",
    ]);
  });

  test("is looked through no further than a bound where all of it is masked", () => {
    const transcript = new Transcript([CANARY]);
    const line = CANARY.repeat(15_000);
    for (let at = 0; at < 200; at++) transcript.push(line);
    const text = Buffer.from(transcript.bytes()).toString("utf8");
    expect(text).not.toContain(CANARY);
    expect(text.trimEnd().split("\n").at(-1)).toContain("transcript.cut");
  });

  test.each<[string, string]>([
    ["a vendor's key", of("sk-", "ant-api03-", "a".repeat(30))],
    ["a token of a host of code", of("ghp", "_", "b".repeat(36))],
    ["a cloud's key", of("AKIA", "ABCDEFGHIJKLMNOP")],
    ["a signed token", of("eyJ", "hbGciOiJIUzI1NiJ9", ".", "eyJzdWIiOiIxIn0abc", ".", "c2ln")],
    [
      "a private key",
      of("-----BEGIN RSA ", "PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----"),
    ],
    ["a header", "c2VjcmV0c2VjcmV0c2VjcmV0"],
    ["a long word that no text has", "q7Zk2Lw9Xc4Vb8Nm1Hs6Jd3Fg5Tp0RyUaEi"],
  ])("masks %s by its form", (what, secret) => {
    const line = what === "a header" ? `Authorization: Bearer ${secret}` : `said ${secret} once`;
    const kept = keptOf(line);
    expect(kept).not.toContain(secret);
    expect(kept).toContain("[masked]");
  });

  test("masks the password of an address, and what is called a password", () => {
    expect(keptOf("https://user:hunter22@example.org/x")).toBe(
      "https://user:[masked]@example.org/x\n",
    );
    expect(keptOf('"password": "hunter22x"')).toBe('"password": "[masked]"\n');
    const inside = JSON.stringify({ said: JSON.stringify({ password: "hunter22x" }) });
    expect(keptOf(inside)).not.toContain("hunter22x");
    expect(keptOf(JSON.stringify({ said: inside }))).not.toContain("hunter22x");
    expect(keptOf("API_KEY=hunter22x next")).toBe("API_KEY=[masked] next\n");
  });

  test("keeps what is no secret", () => {
    const lines = [
      '{"type":"text","text":"I run the test first, then I read src/add.js."}',
      `commit ${"0123456789abcdef".repeat(4)}`,
      "session 01a225ce-292d-7683-b280-96c829c0c51d",
    ];
    for (const line of lines) expect(keptOf(line)).toBe(`${line}\n`);
  });

  test("is bounded, and says how much was left out", () => {
    const transcript = new Transcript([]);
    const line = "a b ".repeat(60_000);
    for (let at = 0; at < 50; at++) transcript.push(line);
    const bytes = transcript.bytes();
    expect(bytes.length).toBeLessThan(9 * 1024 * 1024);
    const last = Buffer.from(bytes).toString("utf8").trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({ type: "transcript.cut" });
  });

  test("knows the secrets of an environment by their names", () => {
    const environment = { PATH: "/usr/bin", GITHUB_TOKEN: "one", DB_PASSWORD: "two", HOME: "/h" };
    expect(secretsOf({ ...environment, MY_KEY: "three", NONE: undefined })).toEqual([
      "one",
      "two",
      "three",
    ]);
  });
});
