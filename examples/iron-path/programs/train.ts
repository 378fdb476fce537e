import {
  modelBytes,
  parseModel,
  predictByLibrary,
  trainForest,
  trainParams,
} from "./lib/forest.ts";
import { evaluate, metricsBytes, share } from "./lib/metrics.ts";
import { runProgram } from "./lib/program.ts";
import { parsePartition } from "./lib/split.ts";

/** Stage `model_training`: train on one half, measure on the other. */
runProgram({
  name: "train",
  params: trainParams,
  inputs: ["train", "test"],
  run({ seed, params, input }) {
    const train = parsePartition(input("train"), "train");
    const test = parsePartition(input("test"), "test");
    if (train.features.join() !== test.features.join()) {
      throw new Error("inputs: train and test have different features");
    }
    if (train.classes.join() !== test.classes.join()) {
      throw new Error("inputs: train and test have different classes");
    }
    const model = modelBytes(trainForest(train, params, seed));
    const counts = evaluate(train, test, predictByLibrary(parseModel(model), test.x));
    return {
      files: { "model.json": model, "metrics.json": metricsBytes(test.classes, counts) },
      summary: {
        ...counts,
        accuracy: share(counts.correct, counts.rows),
        majority_accuracy: share(counts.majority_correct, counts.rows),
      },
    };
  },
});
