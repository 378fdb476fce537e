import { RandomForestClassifier } from "ml-random-forest";
import { z } from "zod";
import { canonicalBytes, parseCanonical, parseJson } from "./canonical.ts";
import { check } from "./program.ts";
import type { Partition } from "./split.ts";

export const trainParams = z.strictObject({
  trees: z.int().min(1).max(500),
  max_depth: z.int().min(1).max(32),
  /** A node with this many rows or fewer is a leaf. */
  min_samples: z.int().min(1).max(1000),
  features_per_tree: z.int().min(2).max(1000),
});
export type TrainParams = z.infer<typeof trainParams>;

/** A leaf names a class by index; another node sends `x[feature] < below` to the left. */
export type Node = { class: number } | { feature: number; below: number; left: Node; right: Node };

const node: z.ZodType<Node> = z.lazy(() =>
  z.union([
    z.strictObject({ class: z.int().min(0) }),
    z.strictObject({ feature: z.int().min(0), below: z.number(), left: node, right: node }),
  ]),
);

const model = z.strictObject({
  format: z.literal("iron-path.random-forest"),
  version: z.literal(1),
  seed: z.int().min(0),
  params: trainParams,
  features: z.array(z.string()).min(1),
  classes: z.array(z.string()).min(2),
  /** The class that most trees name; of equals the one that reached the number first. */
  trees: z.array(node).min(1),
});
export type Model = z.infer<typeof model>;

/** Train a random forest. The same rows, parameters and seed give the same bytes. */
export function trainForest(rows: Partition, params: TrainParams, seed: number): Model {
  if (params.features_per_tree > rows.features.length) {
    throw new Error(`params.features_per_tree: expected at most ${rows.features.length}`);
  }
  const forest = new RandomForestClassifier({
    seed,
    nEstimators: params.trees,
    maxFeatures: params.features_per_tree,
    replacement: false,
    useSampleBagging: true,
    noOOB: true,
    treeOptions: { maxDepth: params.max_depth, minNumSamples: params.min_samples },
  });
  forest.train(rows.x, rows.y);
  return {
    format: "iron-path.random-forest",
    version: 1,
    seed,
    params,
    features: rows.features,
    classes: rows.classes,
    trees: treesOf(forest),
  };
}

/** Canonical bytes: the model's digest is theirs. */
export function modelBytes(forest: Model): Uint8Array {
  return canonicalBytes(forest);
}

/** Read a model: shape, and that every node names a feature or class that exists. */
export function parseModel(bytes: Uint8Array): Model {
  const forest = check(model, parseCanonical(bytes, "model"), "model");
  const isSound = (at: Node): boolean =>
    "class" in at
      ? at.class < forest.classes.length
      : at.feature < forest.features.length && isSound(at.left) && isSound(at.right);
  if (!forest.trees.every(isSound)) {
    throw new Error("model.trees: expected features and classes that the model declares");
  }
  return forest;
}

/** Predict by walking the trees: our own code, independent of the library that trained them. */
export function predictByWalking(forest: Model, x: readonly number[][]): number[] {
  return x.map((row) => {
    const counts = new Array<number>(forest.classes.length).fill(0);
    let best = 0;
    for (const tree of forest.trees) {
      let at = tree;
      while (!("class" in at)) at = (row[at.feature] ?? Number.NaN) < at.below ? at.left : at.right;
      const count = (counts[at.class] ?? 0) + 1;
      counts[at.class] = count;
      if (count > (counts[best] ?? 0)) best = at.class;
    }
    return best;
  });
}

/** Predict with the library, from the same document. */
export function predictByLibrary(forest: Model, x: readonly number[][]): number[] {
  const every = forest.features.map((_, index) => index);
  const baseModel = {
    isClassifier: true,
    nEstimators: forest.trees.length,
    indexes: forest.trees.map(() => every),
    estimators: forest.trees.map((tree) => ({
      name: "DTClassifier",
      options: { kind: "classifier" },
      root: libraryNode(tree, forest.classes.length),
    })),
  };
  const loaded = { name: "RFClassifier", baseModel };
  // The library's declared type asks for training options too, which loading does not read.
  return RandomForestClassifier.load(loaded as unknown as LoadableModel).predict(
    x.map((row) => [...row]),
  );
}

type LoadableModel = Parameters<typeof RandomForestClassifier.load>[0];

const libraryTree: z.ZodType<LibraryNode> = z.lazy(() =>
  z.object({
    splitColumn: z.int().min(0).optional(),
    splitValue: z.number().optional(),
    left: libraryTree.optional(),
    right: libraryTree.optional(),
    distribution: z.array(z.array(z.number())).optional(),
  }),
);
interface LibraryNode {
  splitColumn?: number | undefined;
  splitValue?: number | undefined;
  left?: LibraryNode | undefined;
  right?: LibraryNode | undefined;
  distribution?: number[][] | undefined;
}

const libraryForest = z.object({
  baseModel: z.object({
    indexes: z.array(z.array(z.int().min(0))),
    estimators: z.array(z.object({ root: libraryTree })),
  }),
});

/** The library's trees in our form; it numbers a tree's features within the tree's own choice. */
function treesOf(forest: RandomForestClassifier): Node[] {
  const text = new TextEncoder().encode(JSON.stringify(forest));
  const { baseModel } = check(libraryForest, parseJson(text, "forest"), "forest");
  return baseModel.estimators.map(({ root }, index) => {
    const features = baseModel.indexes[index] ?? [];
    return ourNode(root, features);
  });
}

function ourNode(at: LibraryNode, features: readonly number[]): Node {
  if (at.distribution !== undefined) {
    const shares = at.distribution[0] ?? [];
    return { class: shares.indexOf(Math.max(...shares)) };
  }
  const { splitColumn, splitValue, left, right } = at;
  const feature = splitColumn === undefined ? undefined : features[splitColumn];
  if (feature === undefined || splitValue === undefined || !left || !right) {
    throw new Error("forest: the library left a node that is neither leaf nor split");
  }
  return {
    feature,
    below: splitValue,
    left: ourNode(left, features),
    right: ourNode(right, features),
  };
}

function libraryNode(at: Node, classes: number): object {
  if ("class" in at) {
    const shares = Array.from({ length: classes }, (_, index) => (index === at.class ? 1 : 0));
    return { distribution: [shares] };
  }
  return {
    splitColumn: at.feature,
    splitValue: at.below,
    gain: 0,
    left: libraryNode(at.left, classes),
    right: libraryNode(at.right, classes),
  };
}
