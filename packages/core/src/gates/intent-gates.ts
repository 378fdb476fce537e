import { type Gate, judged, notApplicable } from "./finding.ts";

/** Step 1: questions, answers, and going on. */
export const INTENT_GATES: readonly Gate[] = [
  {
    id: "A1",
    title: "blocked must stop",
    asks: "A request whose blocking questions are open has run nothing: no action was authorised, no patch was made.",
    reads: ["intent"],
    judge: ({ intent, actions, patches, sandboxProof }) => {
      if (intent?.status !== "BLOCKED") return notApplicable("the request is not blocked");
      return judged("nothing ran while questions are open", [
        [actions.length === 0, `${actions.length} actions were authorised while blocked`],
        [patches.size === 0, `${patches.size} patches exist while blocked`],
        [sandboxProof === null, "a sandbox proof exists while blocked"],
      ]);
    },
  },
  {
    id: "A2",
    title: "resume must continue",
    asks: "A request that was resumed has its answers, its request, a tape that says RESUME_APPLIED, and ran.",
    reads: ["intent", "answers", "tape", "request"],
    judge: ({ intent, answers, request, tape, actions }) => {
      if (intent?.status !== "RESUMED") return notApplicable("the request was not resumed");
      const applied = tape?.some((line) => line.event === "resume_applied") ?? false;
      return judged("the answers were applied and the request ran", [
        [answers !== null, "there is no answer pack"],
        [request !== null, "there is no request"],
        [applied, "the tape does not say that the resume was applied"],
        [actions.length > 0, "nothing ran after the resume"],
      ]);
    },
  },
  {
    id: "A3",
    title: "answers cover the questions",
    asks: "Every blocking question has an answer, and each answer at least as many references as its question wants.",
    reads: ["questions", "answers"],
    judge: ({ questions, answers, intent }) => {
      if (questions === null) return notApplicable("the request asks no questions");
      if (intent?.status === "BLOCKED") return notApplicable("the request waits for its answers");
      const given = new Map(answers?.answers.map((one) => [one.question_id, one]));
      const checks = questions.questions.map((question): [boolean, string] => {
        const answer = given.get(question.question_id);
        if (answer === undefined) {
          const needed = question.blocking_level === "blocking";
          return [!needed, `${question.question_id} is not answered`];
        }
        const { length } = answer.evidence_refs;
        const wanted = question.min_evidence;
        return [length >= wanted, `${question.question_id} has ${length} of ${wanted} references`];
      });
      return judged(`${given.size} answers with their references`, checks);
    },
  },
];
