import { predictByWalking } from "../lib/forest.ts";
import { runAgent } from "../lib/judge.ts";

/** Judges by walking the trees of the model as delivered: no library in between. */
runAgent({ role: "validator", predict: ({ given, test }) => predictByWalking(given, test.x) });
