import type { ErrorCode } from "../errors.ts";
import type { ControlCaller } from "./sources.ts";

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  500: "api_error",
};

/** An error of the control routes, in the OpenAI dialect like every error of Cooldown's own. */
export function refuse(
  status: number,
  code: ErrorCode,
  message: string,
  caller: ControlCaller,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const id = caller.requestId ?? crypto.randomUUID();
  const error = { message, type: types[status] ?? "invalid_request_error", code, request_id: id };
  return Response.json(
    { error },
    {
      status,
      headers: {
        "cache-control": "no-store",
        "x-cooldown-error": code,
        "x-cooldown-request-id": id,
        "x-request-id": id,
        ...headers,
      },
    },
  );
}
