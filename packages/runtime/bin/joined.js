"use strict";
// Where a program lies that tools/build-bundle.ts joined of the sources, while each of them is what it
// was; else null. Looked at once in a process. A joined program takes what was made with it, so that
// programs of one making work together, whatever became of the sources.
var fs = require("node:fs");
var path = require("node:path");
var root = path.join(__dirname, "../../..");
var bundles = path.join(__dirname, "../node_modules/.cache/bundle");
var folder;

module.exports = function joined(name) {
  if (folder === undefined) folder = ownFolder() || freshFolder();
  if (folder === null) return null;
  var program = path.join(folder, name);
  // A later making removes what is old.
  return fs.existsSync(program) ? program : null;
};

function ownFolder() {
  var name = path.relative(bundles, process.argv[1] || "").split(path.sep)[0];
  return /^[0-9a-f]{16}$/.test(name) ? path.join(bundles, name) : null;
}

function freshFolder() {
  try {
    var known = JSON.parse(fs.readFileSync(path.join(bundles, "inputs.json"), "utf8"));
    // In a copy of the repository they would work with the files of the first one.
    if (known.root !== root) return null;
    for (var input of known.inputs) {
      var found = fs.statSync(root + "/" + input[0]);
      if (found.size !== input[1] || found.mtimeMs !== input[2]) return null;
    }
    return path.join(bundles, known.folder);
  } catch (error) {
    return null;
  }
}
