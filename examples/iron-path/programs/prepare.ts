import { readDataset } from "./lib/dataset.ts";
import { runProgram } from "./lib/program.ts";
import { classCounts, partitionBytes, prepareParams, splitDataset } from "./lib/split.ts";

/** Stage `data_preparation`: check the data, then hold out a test set by class. */
runProgram({
  name: "prepare",
  params: prepareParams,
  inputs: ["data", "descriptor"],
  run({ seed, params, input }) {
    const dataset = readDataset(input("data"), input("descriptor"));
    if (!params.licences.includes(dataset.licence)) {
      const allowed = params.licences.join(", ");
      throw new Error(`dataset: expected a licence of ${allowed}; found ${dataset.licence}`);
    }
    const { train, test } = splitDataset(dataset, seed, params.test_fraction);
    return {
      files: { "train.json": partitionBytes(train), "test.json": partitionBytes(test) },
      summary: {
        dataset_digest: dataset.digest,
        licence: dataset.licence,
        rows_read: dataset.rowsRead,
        rows_used: dataset.rows.length,
        excluded: dataset.excluded,
        noted: dataset.noted,
        train_rows: classCounts(train),
        test_rows: classCounts(test),
      },
    };
  },
});
