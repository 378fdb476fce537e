import "./without-eval.ts";
import { startPage } from "./page.ts";
import { serveVerification } from "./worker.ts";

// One script is both: the page starts the worker from its own text, so that there is one file.
if (typeof document === "undefined") serveVerification();
else startPage(document, document.currentScript?.textContent ?? "");
