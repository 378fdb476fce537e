export {
  type PlacedLeaf,
  proveConsistency,
  proveInclusion,
  proveInclusionSet,
  type RangeRoot,
  verifyConsistency,
  verifyInclusion,
  verifyInclusionSet,
} from "./proofs.ts";
export { emptyRoot, Frontier, HASH_BYTES, leafHash, nodeHash, splitOf } from "./tree.ts";
