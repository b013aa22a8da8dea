import { anthropicQuota } from "./anthropic.ts";
import { cerebrasQuota } from "./cerebras.ts";
import { groqQuota } from "./groq.ts";
import { openaiQuota } from "./openai.ts";
import type { Report } from "./report.ts";
import type { Saturation } from "./saturate.ts";
import { saturate } from "./saturate.ts";

/** Someone else on the same key, who uses a fifth of it. */
const share = "20%";

const besides = (saturation: Saturation) => (report: Report) => saturate(report, saturation, share);

export const cerebrasShared = besides(cerebrasQuota);
export const openaiShared = besides(openaiQuota);
export const anthropicShared = besides(anthropicQuota);
export const groqShared = besides(groqQuota);
