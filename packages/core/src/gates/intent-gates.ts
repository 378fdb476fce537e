import type { AnswerPack, QuestionPack } from "../formats/index.ts";
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
    asks: "Every question has an answer, each with at least as many references as its question wants.",
    reads: ["questions", "answers"],
    judge: ({ questions, answers, intent }) => {
      if (questions === null) return notApplicable("the request asks no questions");
      if (intent?.status === "BLOCKED") return notApplicable("the request waits for its answers");
      if (intent?.status === "READY") return notApplicable("no question had to be answered");
      const gaps = answerGaps(questions, answers).map(({ gap }): [boolean, string] => [false, gap]);
      return judged(`${questions.questions.length} answers with their references`, gaps);
    },
  },
];

/** What answers leave open: a question without an answer, or one that rests on too little. */
export function answerGaps(
  { questions }: QuestionPack,
  answers: AnswerPack | null,
): { readonly question: QuestionPack["questions"][number]; readonly gap: string }[] {
  const given = new Map(answers?.answers.map((one) => [one.question_id, one]));
  return questions.flatMap((question) => {
    const { question_id: id, min_evidence: wanted } = question;
    const found = given.get(id)?.evidence_refs.length;
    if (found === undefined) return { question, gap: `${id} is not answered` };
    return found < wanted ? { question, gap: `${id} has ${found} of ${wanted} references` } : [];
  });
}
