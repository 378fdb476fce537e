import { predictByWalking } from "../lib/forest.ts";
import { runAgent } from "../lib/judge.ts";

/** Judges by walking the trees of the model that it trained itself. */
runAgent({ role: "oversight", predict: ({ derived, test }) => predictByWalking(derived, test.x) });
