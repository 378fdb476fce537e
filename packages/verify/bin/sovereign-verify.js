#!/usr/bin/env node
"use strict";
// Plain old JavaScript: also an old Node must be able to say what is wrong.
var parts = process.versions.node.split(".").map(Number);
if (parts[0] < 22 || (parts[0] === 22 && parts[1] < 18)) {
  process.stderr.write(
    "sovereign-verify needs Node 22.18 or newer; this is " +
      process.version +
      ". Install a newer Node. In its repository, `npm ci` brings one: use `npx sovereign-verify` there.\n",
  );
  process.exit(2);
}
var fs = require("node:fs");
var path = require("node:path");
var root = path.join(__dirname, "..");
// In the repository the sources run as they are; a published package has what was built of them.
var built = path.join(root, "dist/bin.js");
var source = path.join(root, "src/bin.ts");
import(require("node:url").pathToFileURL(fs.existsSync(source) ? source : built).href).catch(
  function (error) {
    process.stderr.write("sovereign-verify: cannot start: " + error.message + "\n");
    process.exit(1);
  },
);
