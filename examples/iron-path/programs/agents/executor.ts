import { predictByLibrary } from "../lib/forest.ts";
import { runAgent } from "../lib/judge.ts";

/** Judges with the library, on the model as delivered. */
runAgent({ role: "executor", predict: ({ given, test }) => predictByLibrary(given, test.x) });
