import { comparePlatforms } from "../packages/core/test/ed25519/edge-cases.ts";
import { platform as node } from "../packages/core/src/platform/node.ts";
import { platform as portable } from "../packages/core/src/platform/portable.ts";

/** `node tools/compare-platforms.ts [CASES]`: the one rule for signatures, over both platforms. */
const [cases = "20000"] = process.argv.slice(2);
const found = comparePlatforms([node, portable], 0, Number(cases));
console.log(JSON.stringify(found));
process.exitCode = found.differ.length > 0 ? 1 : 0;
