import { relative, resolve } from "node:path";
import ts from "typescript";

const ROOT = resolve(import.meta.dirname, "../../../..");
const PACKAGES = resolve(ROOT, "packages");
const ENTRIES = ["core", "verify", "runtime"].map((name) =>
  resolve(PACKAGES, name, "src/index.ts"),
);

export interface ReachableClass {
  readonly name: string;
  /** Below the repository's root. */
  readonly file: string;
  /** How a program comes to an object of it. */
  readonly by: string;
  /** Whether its text says that each of its objects is frozen. */
  readonly freezes: boolean;
}

/**
 * The classes of ours whose objects, or which themselves, a program comes to that imports the packages:
 * by what they export, and by what the properties of that are, and its functions take and return. What
 * is private to a class is left out. Where an interface is met, so are the classes that implement it.
 */
export function reachableClasses(): {
  readonly classes: readonly ReachableClass[];
  /** What takes an object that the runtime alone makes, and which: `connectSandbox(link): ScramLink`. */
  readonly doors: readonly string[];
} {
  const { options } = configured();
  const program = ts.createProgram(ENTRIES, { ...options, noEmit: true });
  const walk = new Walk(program);
  const checker = program.getTypeChecker();
  for (const path of ENTRIES) {
    const entry = program.getSourceFile(path);
    const exported = entry && checker.getSymbolAtLocation(entry);
    if (exported === undefined) throw new Error(`${path} exports nothing`);
    for (const one of checker.getExportsOfModule(exported)) {
      const isAlias = (one.flags & ts.SymbolFlags.Alias) !== 0;
      const symbol = isAlias ? checker.getAliasedSymbol(one) : one;
      if ((symbol.flags & ts.SymbolFlags.Value) === 0) continue;
      walk.visit(checker.getTypeOfSymbol(symbol), one.name);
    }
  }
  return { classes: walk.found, doors: [...walk.doors].sort() };
}

function configured(): ts.ParsedCommandLine {
  const host = {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: ({ messageText }: ts.Diagnostic): never => {
      throw new Error(ts.flattenDiagnosticMessageText(messageText, "\n"));
    },
  };
  const parsed = ts.getParsedCommandLineOfConfigFile(resolve(ROOT, "tsconfig.json"), {}, host);
  if (parsed === undefined) throw new Error("tsconfig.json cannot be read");
  return parsed;
}

/** What a class has whose objects are told from look-alikes. */
const MARK = ts.escapeLeadingUnderscores("assertMade");

class Walk {
  readonly found: ReachableClass[] = [];
  readonly doors = new Set<string>();
  readonly #checker: ts.TypeChecker;
  readonly #seen = new Set<ts.Type | ts.Declaration>();
  /** Classes by the interface that they implement. */
  readonly #implementers = new Map<ts.Symbol, ts.ClassDeclaration[]>();

  constructor(program: ts.Program) {
    this.#checker = program.getTypeChecker();
    for (const file of program.getSourceFiles()) {
      if (!isOurs(file)) continue;
      ts.forEachChild(file, (node) => {
        this.#noteInterfaces(node);
      });
    }
  }

  #noteInterfaces(node: ts.Node): void {
    if (!ts.isClassDeclaration(node)) return;
    for (const { types } of node.heritageClauses ?? []) {
      for (const type of types) {
        const symbol = this.#checker.getTypeAtLocation(type).getSymbol();
        if (symbol === undefined) continue;
        this.#implementers.set(symbol, [...(this.#implementers.get(symbol) ?? []), node]);
      }
    }
  }

  visit(type: ts.Type, by: string): void {
    this.#noteDoor(type, by);
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    for (const one of this.#partsOf(type)) this.visit(one, by);
    const symbol = type.getSymbol();
    const declared = symbol?.declarations ?? [];
    // Of others' classes and interfaces, such as a promise or a map, what they are of was looked at.
    if (declared.length > 0 && !declared.some(isOurs)) return;
    for (const one of [...declared, ...(symbol ? (this.#implementers.get(symbol) ?? []) : [])]) {
      if (ts.isClassDeclaration(one)) this.#take(one, by);
    }
    this.#visitParts(type, by);
  }

  /** A parameter, or a part of one, that is an object of which there are look-alikes. */
  #noteDoor(type: ts.Type, by: string): void {
    const symbol = type.getSymbol();
    if (symbol === undefined) return;
    const isMade = symbol.name === "Installation" || symbol.exports?.has(MARK) === true;
    if (isMade && /\([^()]+\)(\.\w+)?$/.test(by)) this.doors.add(`${by}: ${symbol.name}`);
  }

  /** Of which others it is made: `A | B`, `Promise<A>`. */
  #partsOf(type: ts.Type): readonly ts.Type[] {
    const joined = type.isUnionOrIntersection() ? type.types : [];
    const isReference = ((type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference) !== 0;
    if (!isReference) return joined;
    return [...joined, ...this.#checker.getTypeArguments(type as ts.TypeReference)];
  }

  #visitParts(type: ts.Type, by: string): void {
    for (const one of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      this.visit(one.getReturnType(), `${by}()`);
      for (const parameter of one.parameters)
        this.visit(this.#checker.getTypeOfSymbol(parameter), `${by}(${parameter.name})`);
    }
    for (const property of type.getProperties()) {
      const at = property.valueDeclaration;
      if (at === undefined || isPrivate(at)) continue;
      this.visit(this.#checker.getTypeOfSymbolAtLocation(property, at), `${by}.${property.name}`);
    }
  }

  #take(one: ts.ClassDeclaration, by: string): void {
    if (this.#seen.has(one)) return;
    this.#seen.add(one);
    const source = one.getSourceFile();
    const name = one.name?.text ?? "";
    const freezes = one.getText(source).includes("Object.freeze(this)");
    this.found.push({ name, file: relative(ROOT, source.fileName), by, freezes });
    this.visit(this.#checker.getTypeAtLocation(one), by);
  }
}

function isOurs(node: ts.Node): boolean {
  return node.getSourceFile().fileName.startsWith(PACKAGES);
}

function isPrivate(node: ts.Declaration): boolean {
  const { name } = node as ts.NamedDeclaration;
  if (name !== undefined && ts.isPrivateIdentifier(name)) return true;
  return (ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Private) !== 0;
}
