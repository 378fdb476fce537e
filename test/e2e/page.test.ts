import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateRawSync } from "node:zlib";
import { canonicalBytes, type ComplianceBundle, type JsonValue } from "@sovereign/core";
import { verifyBundle, writeBundleZip } from "@sovereign/verify";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { EvidenceWorld } from "../../packages/runtime/test/support/evidence.ts";
import { forgeZip } from "../../packages/verify/test/support/zips.ts";
import { buildPage } from "../../tools/build-page.ts";

let folder: string;
let world: EvidenceWorld;
let html: string;
let browser: Browser;
let page: Page;
/** What the page loaded, and what the browser complained of. */
let requests: string[];
let complaints: string[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-page-"));
  world = await EvidenceWorld.create();
  html = await buildPage();
  writeFileSync(join(folder, "page.html"), html);
  save("trust-root.json", world.trustRoot());
  // Chromium's own sandbox needs a user that is not root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath: findChromium(), args });
});
afterAll(async () => {
  await browser.close();
  world.dispose();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await page.close();
});
beforeEach(async () => {
  page = await browser.newPage();
  requests = [];
  complaints = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(pathToFileURL(join(folder, "page.html")).href);
});

function findChromium(): string {
  const found = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (found !== undefined) return found;
  throw new Error("No Chromium. Type: apt-get install -y --no-install-recommends chromium");
}

function save(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

const bytesOf = (bundle: ComplianceBundle): Uint8Array =>
  canonicalBytes(bundle as unknown as JsonValue);

async function press(): Promise<void> {
  await page.getByRole("button", { name: "Verify" }).click();
}

interface Options {
  readonly trust?: boolean;
  readonly level?: "sovereign" | "compatible";
}

/** Verify a file in the page; the report, downloaded. */
async function judged(bundle: Uint8Array, options: Options = {}): Promise<Uint8Array> {
  await judge(bundle, options);
  return downloaded();
}

async function judge(bundle: Uint8Array, options: Options = {}): Promise<void> {
  await page.getByLabel("Compliance bundle").setInputFiles(save("bundle", bundle));
  if (options.trust !== false) {
    await page.getByLabel("Trust root").setInputFiles(join(folder, "trust-root.json"));
  }
  await page.getByLabel("Level to prove").selectOption(options.level ?? "sovereign");
  await press();
  await page.locator("#verdict").waitFor();
}

async function downloaded(): Promise<Uint8Array> {
  const button = page.getByRole("button", { name: "Download report" });
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  expect(download.suggestedFilename()).toBe("verification_report.json");
  return new Uint8Array(readFileSync(await download.path()));
}

/** What `sovereign-verify --output` writes of the same files. */
function reportOf(bundle: Uint8Array, options: Options = {}): Uint8Array {
  const trustRoot = options.trust === false ? null : world.trustRoot();
  const level = options.level ?? "sovereign";
  const report = verifyBundle(bundle, { trustRoot, level });
  return Buffer.from(`${JSON.stringify(report, null, 2)}\n`);
}

const verdict = (): Promise<string> => page.locator("#verdict").innerText();

describe("the verifier's page", () => {
  it("is one file that asks for nothing else", () => {
    const start = html.indexOf("<script>");
    const markup = html.slice(0, start) + html.slice(html.indexOf("</script>", start));
    expect(markup).not.toMatch(/ src=|@import|url\(|\{\{|https?:|<link[^>]* href="(?!data:,")/);
    expect(markup).toContain("content=\"default-src 'none'; script-src 'sha256-");
    expect(html.match(/<\/?script/g)).toHaveLength(2);
    expect(html.length).toBeLessThan(400_000);
  });

  it("finds genuine evidence VALID, by the same report as in Node, without a connection", async () => {
    const bytes = bytesOf(await world.bundle());
    await judge(bytes);
    expect(await page.locator("#verdict:focus").count()).toBe(1);
    expect(Buffer.from(await downloaded()).equals(reportOf(bytes))).toBe(true);
    expect(await verdict()).toContain("VALID");
    expect(await page.locator(".steps .badge").allInnerTexts()).toEqual(Array(5).fill("PASS"));
    expect(await page.locator("#status").innerText()).toContain("Verdict VALID");
    const addresses = requests.filter((url) => !url.startsWith("blob:"));
    expect(addresses).toEqual([pathToFileURL(join(folder, "page.html")).href]);
    expect(complaints).toEqual([]);
  });

  it("reads a zip, and files that are dropped on it", async () => {
    const zip = writeBundleZip(bytesOf(await world.bundle()));
    for (const [slot, bytes] of [
      ["bundle", zip],
      ["trust", world.trustRoot()],
    ] as const) {
      const dataTransfer = await page.evaluateHandle(
        ([name, content]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], name));
          return transfer;
        },
        [slot, [...bytes]] as const,
      );
      await page.dispatchEvent(`#${slot}-slot`, "drop", { dataTransfer });
    }
    await press();
    expect(await verdict()).toContain("VALID");
  });

  it("finds it UNTRUSTED_KEY without a trust root, or when another installation made it", async () => {
    const bytes = bytesOf(await world.bundle());
    const report = await judged(bytes, { trust: false });
    expect(Buffer.from(report).equals(reportOf(bytes, { trust: false }))).toBe(true);
    expect(await verdict()).toContain("UNTRUSTED_KEY");
    const forger = await EvidenceWorld.create();
    const fabricated = bytesOf(await forger.bundle());
    forger.dispose();
    expect(Buffer.from(await judged(fabricated)).equals(reportOf(fabricated))).toBe(true);
    expect(await verdict()).toContain("UNTRUSTED_KEY");
  });

  it.each<[string, (bundle: ComplianceBundle) => void]>([
    [
      "edited",
      (bundle) => {
        bundle.entries[2]!.entry.data = { ...bundle.entries[2]!.entry.data, output: "better" };
      },
    ],
    [
      "edited, and everything made again that needs no key",
      (bundle) => {
        bundle.entries[2]!.entry.data = { ...bundle.entries[2]!.entry.data, output: "better" };
        world.remake(bundle);
      },
    ],
    [
      "with a signature's bit changed",
      (bundle) => {
        const [envelope] = Object.values(bundle.envelopes);
        const one = envelope!.signatures[0]!;
        one.sig = `${one.sig.startsWith("A") ? "B" : "A"}${one.sig.slice(1)}`;
        world.remake(bundle);
      },
    ],
  ])("finds evidence INVALID that was %s, by the same report as in Node", async (_, forge) => {
    const bundle = await world.bundle();
    forge(bundle);
    const bytes = bytesOf(bundle);
    expect(Buffer.from(await judged(bytes)).equals(reportOf(bytes))).toBe(true);
    expect(await verdict()).toContain("INVALID");
    expect(await page.locator(".verdict .failure").innerText()).toMatch(
      /^First failure, in “.+”: /,
    );
  });

  it("shows hostile text as text", async () => {
    const bundle = await world.bundle();
    const evil = `<img src=x onerror="alert(1)"><script>alert(2)</script>\u202e\u001b[2J</script>`;
    const last = bundle.entries.at(-1)!.entry;
    last.data = { ...last.data, status: evil };
    bundle.entries[0]!.entry.data = { [evil]: evil };
    world.remake(bundle, { chain: false });
    const bytes = bytesOf(bundle);
    expect(Buffer.from(await judged(bytes)).equals(reportOf(bytes))).toBe(true);
    expect(await page.locator("#result :is(img, script, iframe, a)").count()).toBe(0);
    const text = await page.locator("#result").innerText();
    expect(text).toContain('<img src=x onerror="alert(1)">');
    expect(text).toContain("\\u{202e}\\u{1b}[2J");
    expect(text).not.toMatch(/[\u202e\u001b]/);
    expect(complaints).toEqual([]);
  });

  it.each<[string, Uint8Array, string]>([
    ["no bundle", Buffer.from("{}"), "ERR_BUNDLE_MALFORMED"],
    [
      "a bomb",
      forgeZip([{ data: deflateRawSync(new Uint8Array(50_000_000)), size: 50_000_000 }]),
      "ERR_BUNDLE_MALFORMED",
    ],
  ])("says what is wrong with %s, and gives no verdict", async (_, bytes, code) => {
    await page.getByLabel("Compliance bundle").setInputFiles(save("bundle", bytes));
    await press();
    await page.locator("#status.problem").waitFor();
    expect(await page.locator("#status").innerText()).toContain(code);
    expect(await page.locator("#result").isVisible()).toBe(false);
  });

  it("leaves no verdict beside other files, and none that was cancelled", async () => {
    expect(await page.getByRole("button", { name: "Verify" }).isDisabled()).toBe(true);
    const bytes = bytesOf(await world.bundle());
    await judged(bytes);
    await page.getByLabel("Compliance bundle").setInputFiles(save("other", Buffer.from("{}")));
    expect(await page.locator("#result").isVisible()).toBe(false);
    expect(await page.locator("#result").innerText()).toBe("");
    await page.getByLabel("Compliance bundle").setInputFiles(join(folder, "bundle"));
    await page.evaluate(() => {
      document.getElementById("verify")?.click();
      document.getElementById("cancel")?.click();
    });
    await page.waitForTimeout(500);
    expect(await page.locator("#result").isVisible()).toBe(false);
    expect(await page.locator("#status").innerText()).toBe("");
    await press();
    expect(await verdict()).toContain("VALID");
  });

  it("judges at the level that is asked for", async () => {
    const loose = await EvidenceWorld.create("compatible");
    save("trust-root.json", loose.trustRoot());
    await page.getByLabel("Trust root").setInputFiles(join(folder, "trust-root.json"));
    const bytes = bytesOf(await loose.bundle());
    loose.dispose();
    await judged(bytes);
    expect(await verdict()).toContain("INCOMPLETE");
    await judged(bytes, { level: "compatible" });
    expect(await verdict()).toContain("VALID");
    save("trust-root.json", world.trustRoot());
  });
});
