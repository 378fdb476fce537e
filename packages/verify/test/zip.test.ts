import { randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import { equalBytes, isSovereignError, utf8Encode } from "@sovereign/core";
import { parseBundle, writeBundleZip } from "@sovereign/verify";
import { unzipSync } from "fflate";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ZipProblem } from "../src/inflate.ts";
import { readZip, writeZip } from "../src/zip.ts";
import { concat, type Forged, type ForgedEnd, forgeZip, NAME, u16, u32 } from "./support/zips.ts";

const MAX = 64 * 1024 * 1024;
const content = utf8Encode('{"format":"sovereign.compliance-bundle"}'.repeat(20));
const good: Forged = { content };

/** The message with which a file is refused; what is not refused has no message. */
function refusalOf(zip: Uint8Array): string | null {
  try {
    parseBundle(zip);
    return null;
  } catch (error) {
    if (isSovereignError(error, "ERR_BUNDLE_MALFORMED")) return error.message;
    throw error;
  }
}

describe("a zip with one honest entry", () => {
  it.each<[string, Forged]>([
    ["deflated", good],
    ["stored", { ...good, method: 0 }],
    ["with a regular file's mode", { ...good, attributes: (0o100644 << 16) >>> 0 }],
    [
      "with times in an extra field",
      { ...good, extra: concat([u16(0x5455), u16(5), new Uint8Array(5)]) },
    ],
    ["with a UTF-8 flag on its name", { ...good, flags: 0x0800 }],
    ["of nothing", { content: new Uint8Array() }],
  ])("is read: %s", (_, entry) => {
    expect(readZip(forgeZip([entry]), NAME, MAX)).toEqual(entry.content);
  });

  it("is what we write, each time the same, and what other readers read", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (bytes) => {
        const zip = writeBundleZip(bytes);
        expect(writeBundleZip(bytes)).toEqual(zip);
        expect(readZip(zip, NAME, MAX)).toEqual(bytes);
        expect(unzipSync(zip)[NAME]).toEqual(bytes);
      }),
    );
  });

  it("comes back whole when it is larger than a slice, packed or not", () => {
    const mixed = concat([randomBytes(300_000), new Uint8Array(3_000_000), randomBytes(300_000)]);
    expect(equalBytes(readZip(writeZip(NAME, mixed), NAME, MAX), mixed)).toBe(true);
  });

  it("is stored where it would be packed so tight that we refused it", () => {
    const zeros = new Uint8Array(10 * 1024 * 1024);
    const zip = writeZip(NAME, zeros);
    expect(zip.length).toBeGreaterThan(zeros.length);
    expect(equalBytes(readZip(zip, NAME, MAX), zeros)).toBe(true);
  });
});

const symlink = (0o120777 << 16) >>> 0;
const descriptor = concat([u32(0x08074b50), u32(0), u32(0), u32(0)]);
const zip64Locator = concat([u32(0x07064b50), u32(0), u32(0), u32(0), u32(1)]);
const zip64Extra = concat([u16(1), u16(16), new Uint8Array(16)]);
const unicodePath = concat([u16(0x7075), u16(5 + 8), new Uint8Array(5), utf8Encode("evil.txt")]);
const twice = deflateRawSync(content);

const hostile: [string, readonly Forged[], ForgedEnd, RegExp][] = [
  ["a name that climbs", [{ ...good, name: `../../${NAME}` }], {}, /another name/],
  ["a name that climbs, with backslashes", [{ ...good, name: `..\\${NAME}` }], {}, /another name/],
  ["an absolute name", [{ ...good, name: `/etc/${NAME}` }], {}, /another name/],
  ["a drive's name", [{ ...good, name: `C:\\${NAME}` }], {}, /another name/],
  ["a name in other case", [{ ...good, name: NAME.toUpperCase() }], {}, /another name/],
  ["a name with a zero in it", [{ ...good, name: `${NAME}\0.txt` }], {}, /another name/],
  ["no name", [{ ...good, name: "" }], {}, /another name/],
  [
    "a name that is no UTF-8",
    [{ ...good, name: Uint8Array.of(0xff, 0xfe, 0x80) }],
    {},
    /another name/,
  ],
  [
    "a name whose bytes look like ours in another encoding",
    [{ ...good, name: concat([utf8Encode(NAME.slice(0, -1)), Uint8Array.of(0xee)]) }],
    {},
    /another name/,
  ],
  ["two names", [{ ...good, local: { name: `x${NAME.slice(1)}` } }], {}, /another name/],
  ["a second name in an extra field", [{ ...good, extra: unicodePath }], {}, /second name/],
  ["the same name twice", [good, good], {}, /2 entries/],
  ["another file beside it", [good, { ...good, name: "evil.txt" }], {}, /2 entries/],
  ["two entries that claim to be one", [good, good], { count: 1 }, /more in its directory/],
  ["no entries", [], {}, /0 entries/],
  ["a directory of 0 that claims 1", [], { count: 1 }, /no record/],
  ["a symbolic link", [{ ...good, attributes: symlink }], {}, /no regular file/],
  ["a device", [{ ...good, attributes: (0o020666 << 16) >>> 0 }], {}, /no regular file/],
  ["a folder", [{ ...good, attributes: 0x10 }], {}, /no regular file/],
  ["a wrong checksum", [{ ...good, checksum: 1 }], {}, /wrong checksum/],
  ["a smaller size than its data", [{ ...good, size: 10 }], {}, /more than the 10 bytes/],
  ["a larger size than its data", [{ ...good, size: 10_000 }], {}, /800 bytes that claims 10000/],
  ["a size that only the entry says", [{ ...good, local: { size: 10 } }], {}, /size differs/],
  [
    "a checksum that only the entry says",
    [{ ...good, local: { checksum: 1 } }],
    {},
    /checksum differs/,
  ],
  ["a method that only the entry says", [{ ...good, local: { method: 0 } }], {}, /method differs/],
  ["flags that only the entry says", [{ ...good, local: { flags: 1 } }], {}, /flags differs/],
  ["another packed size", [{ ...good, packedSize: 5 }], {}, /does not reach/],
  [
    "a stored entry of another size",
    [{ ...good, method: 0, size: 5 }],
    {},
    /800 bytes that claims 5/,
  ],
  ["a claim of 4 GB", [{ ...good, size: 0xfffffffe }], {}, /4294967294 bytes, more than/],
  ["a claim of 400 MB", [{ ...good, size: 400 * 1024 * 1024 }], {}, /claim to unpack to 419430400/],
  ["data that are cut off", [{ ...good, data: twice.subarray(0, 9) }], {}, /cannot be unpacked/],
  [
    "data that are no deflate",
    [{ ...good, data: new Uint8Array(99).fill(0xff) }],
    {},
    /cannot be unpacked/,
  ],
  ["no data", [{ ...good, data: new Uint8Array() }], {}, /0 bytes that claims 800/],
  [
    "much behind the end of its data",
    [{ ...good, data: concat([twice, new Uint8Array(MAX / 8)]) }],
    {},
    /unpack to nothing/,
  ],
  ["encryption", [{ ...good, flags: 1 }], {}, /encryption/],
  ["strong encryption", [{ ...good, flags: 0x40 }], {}, /features/],
  ["a masked directory", [{ ...good, flags: 0x2000 }], {}, /features/],
  ["patched data", [{ ...good, flags: 0x20 }], {}, /features/],
  [
    "sizes behind the data",
    [{ ...good, flags: 8, local: { size: 0, packedSize: 0, checksum: 0 }, behind: descriptor }],
    {},
    /behind the data/,
  ],
  ["a descriptor that no flag announces", [{ ...good, behind: descriptor }], {}, /does not reach/],
  ["another method", [{ ...good, method: 14 }], {}, /way of packing/],
  ["a version that knows AES", [{ ...good, version: 51 }], {}, /way of packing/],
  ["zip64 in an extra field", [{ ...good, extra: zip64Extra }], {}, /zip64/],
  ["zip64 before the end", [good], { beforeEnd: zip64Locator }, /another place/],
  ["zip64's count", [good], { count: 0xffff }, /zip64/],
  ["zip64's offset", [good], { offset: 0xffffffff }, /zip64/],
  [
    "an extra field that ends outside",
    [{ ...good, extra: concat([u16(0x5455), u16(99)]) }],
    {},
    /extra field/,
  ],
  ["half an extra field", [{ ...good, extra: Uint8Array.of(1) }], {}, /extra field/],
  ["several disks", [good], { disk: 1 }, /disks/],
  ["a comment on the entry", [{ ...good, comment: utf8Encode("x") }], {}, /a comment/],
  ["a comment on the file", [good], { comment: utf8Encode("x") }, /no end/],
  ["something before the entry", [good], { before: utf8Encode("PK\u0003\u0004") }, /another place/],
  ["an offset into itself", [{ ...good, offset: 4 }], {}, /another place/],
  ["a directory that overlaps its entry", [good], { offset: 0 }, /another place/],
  ["a directory's size that overlaps", [good], { size: 9999 }, /another place/],
];

describe("a zip is refused, with a code,", () => {
  it.each(hostile)("with %s", (_, entries, end, message) => {
    expect(refusalOf(forgeZip(entries, end))).toMatch(message);
  });

  it("with overlapping entries, as a bomb of many over the same data has them", () => {
    const first = { ...good, content: new Uint8Array(1_000_000) };
    const others = Array.from({ length: 250 }, () => ({ ...first, phantom: true, offset: 0 }));
    expect(refusalOf(forgeZip([first, ...others]))).toMatch(/251 entries/);
    expect(refusalOf(forgeZip([first, ...others], { count: 1 }))).toMatch(/more in its directory/);
  });

  it("with 100,000 entries, whatever number the end can say of them", () => {
    const many = forgeZip(Array.from({ length: 100_000 }, () => ({ method: 0 })));
    expect(refusalOf(many)).toMatch(/\d+ entries/);
  });

  it.each([
    ["1 GB", 1024 * 1024 * 1024],
    ["as much as it claims", 100 * 1024 * 1024],
  ])("when it is a bomb of %s, before it is unpacked", (_, claim) => {
    const packed = deflateRawSync(new Uint8Array(100 * 1024 * 1024), { level: 9 });
    const before = process.memoryUsage.rss();
    const zip = forgeZip([{ data: packed, size: claim, checksum: 0 }]);
    expect(refusalOf(zip)).toMatch(/more than|claim to unpack/);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  });

  it("when it is a bomb that claims little, after that little", () => {
    const packed = deflateRawSync(new Uint8Array(200 * 1024 * 1024), { level: 9 });
    const before = process.memoryUsage.rss();
    expect(refusalOf(forgeZip([{ data: packed, size: 1000, checksum: 0 }]))).toMatch(
      /more than the 1000/,
    );
    expect(process.memoryUsage.rss() - before).toBeLessThan(120 * 1024 * 1024);
  });

  it("when it is cut off anywhere, or anything follows", () => {
    const zip = forgeZip([good]);
    for (let length = 2; length < zip.length; length++) {
      expect(refusalOf(zip.slice(0, length))).toMatch(/zip file with|not a zip/);
    }
    for (const more of [1, 21, 22, 70_000]) {
      expect(refusalOf(concat([zip, new Uint8Array(more)]))).toMatch(/no end/);
    }
    expect(refusalOf(concat([zip, zip]))).toMatch(/another place/);
  });

  it("or read as what it is, with any one bit flipped", () => {
    const zip = writeZip(NAME, content);
    let refused = 0;
    for (let bit = 0; bit < zip.length * 8; bit++) {
      const flipped = zip.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      try {
        // Times and the like decide nothing.
        expect(readZip(flipped, NAME, MAX)).toEqual(content);
      } catch (error) {
        expect(error).toBeInstanceOf(ZipProblem);
        refused += 1;
      }
    }
    expect(refused / (zip.length * 8)).toBeGreaterThan(0.7);
  });

  it("or read, but nothing else happens, whatever the bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes, (rest) => {
        expect(refusalOf(concat([utf8Encode("PK"), rest]))).not.toBeNull();
      }),
    );
  });
});
