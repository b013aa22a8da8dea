import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** How many connections ask at a time. */
const connections = 16;

/** What wrk sends. */
export type Kind = "get" | "chat";

/** Results of one run of wrk. */
export interface Load {
  readonly requests: number;
  /** Answers other than 2xx, and requests without an answer. */
  readonly failed: number;
}

/** Whether wrk is installed. */
export function hasWrk(): boolean {
  return Bun.which("wrk") !== null;
}

/** Says in one line what the run came to. */
const report = `
done = function(summary)
  local e = summary.errors
  io.write(string.format("TOTAL %d %d\\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/**
 * A chat completion with a prompt of 1 KB that has not been sent before: no count of it is known. Only words in it
 * change, as in real traffic.
 */
const chat = `
local words = { "quota", "request", "window", "tokens", "provider", "schedule", "upstream", "answer",
  "because", "waiting", "until", "there", "is", "room", "for", "it", "the", "next", "one", "goes" }
math.randomseed(os.time() + math.floor(os.clock() * 1e6))
request = function()
  local text, length = {}, 0
  while length < 1020 do
    local word = words[math.random(#words)]
    if math.random(12) == 1 then word = tostring(math.random(99999)) end
    text[#text + 1] = word
    length = length + #word + 1
  end
  local body = '{"model":"gpt-4o","max_completion_tokens":64,"messages":[{"role":"user","content":"'
    .. table.concat(text, " ") .. '"}]}'
  return wrk.format("POST", nil, nil, body)
end
`;

/** Writes wrk's scripts into `folder`; gives a function that runs one of them. */
export function createLoad(
  folder: string,
): (kind: Kind, url: string, host: string, seconds: number) => Promise<Load> {
  const scripts = { get: join(folder, "get.lua"), chat: join(folder, "chat.lua") };
  writeFileSync(scripts.get, report);
  writeFileSync(scripts.chat, chat + report);
  return async (kind, url, host, seconds) => {
    const headers = ["-H", `Host: ${host}`, "-H", "Authorization: Bearer bench-0123456789"];
    if (kind === "chat") headers.push("-H", "Content-Type: application/json");
    const child = Bun.spawn(
      ["wrk", "-t1", `-c${connections}`, `-d${seconds}`, "-s", scripts[kind], ...headers, url],
      { stdout: "pipe", stderr: "pipe" },
    );
    const said = await child.stdout.text();
    const [, requests, failed] = /TOTAL (\d+) (\d+)/.exec(said) ?? [];
    if (requests === undefined) throw new Error(`wrk failed: ${said}${await child.stderr.text()}`);
    return { requests: Number(requests), failed: Number(failed) };
  };
}
