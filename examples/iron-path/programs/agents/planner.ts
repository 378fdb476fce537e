import { predictByLibrary } from "../lib/forest.ts";
import { runAgent } from "../lib/judge.ts";

/** Judges with the library, on the model that it trained itself. */
runAgent({ role: "planner", predict: ({ derived, test }) => predictByLibrary(derived, test.x) });
