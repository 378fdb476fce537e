#!/usr/bin/env node
"use strict";
// Plain old JavaScript: also an old Node must be able to say what is wrong.
var parts = process.versions.node.split(".").map(Number);
if (parts[0] < 22 || (parts[0] === 22 && parts[1] < 18)) {
  process.stderr.write(
    "sovereign needs Node 22.18 or newer; this is " +
      process.version +
      ". Install a newer Node. In its repository, `npm ci` brings one: use `npx sovereign` there.\n",
  );
  process.exit(2);
}
var fs = require("node:fs");
var path = require("node:path");
if (!answerAtOnce(process.argv.slice(2))) start();

// Help is a text that the build has written down: for it nothing of the product is loaded.
function answerAtOnce(words) {
  // What stands behind it belongs to the command that is run.
  if (words.indexOf("--") >= 0) return false;
  var asked = words[words.length - 1];
  var isHelp = asked === "--help" || asked === "-h";
  var isVersion = words.length === 1 && (asked === "--version" || asked === "-V");
  var isWord = words[0] === "help";
  if (!isHelp && !isVersion && !isWord) return false;
  var known = JSON.parse(fs.readFileSync(path.join(__dirname, "help.json"), "utf8"));
  var name = (isWord ? words.slice(1) : words.slice(0, -1)).join(" ");
  if (!isVersion && !Object.prototype.hasOwnProperty.call(known.help, name)) return false;
  // Whoever reads may stop early, as `head` does; a full disk is a failure.
  process.stdout.on("error", function (error) {
    process.exitCode = error.code === "EPIPE" ? 0 : 1;
  });
  process.stdout.write(isVersion ? known.version + "\n" : known.help[name]);
  return true;
}

function start() {
  require("./compile-cache.js");
  var root = path.join(__dirname, "..");
  // In the repository the sources run, joined where that is up to date, else as they are; a
  // published package has what was built of them.
  var built = path.join(root, "dist/main/cli.js");
  var source = path.join(root, "src/main/cli.ts");
  var program = fs.existsSync(source) ? require("./joined.js")("main/cli.mjs") || source : built;
  import(require("node:url").pathToFileURL(program).href).catch(function (error) {
    process.stderr.write("sovereign: cannot start: " + error.message + "\n");
    process.exit(1);
  });
}
