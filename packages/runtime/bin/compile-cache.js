"use strict";
// Keeps what Node makes of our sources, so that the next process need not strip and compile them
// again: half of the time of a start. Whoever can write there can write to the sources beside it, too.
// A published package was built before, and writes nothing where it is installed.
var fs = require("node:fs");
var path = require("node:path");
var compile = require("node:module").enableCompileCache;
var folder = path.join(__dirname, "../node_modules/.cache/compiled");
if (compile && fs.existsSync(path.join(__dirname, "../src/main/cli.ts"))) compile(folder);
