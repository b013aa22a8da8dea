import type { CountText } from "./count-text.ts";

/** How a model's template renders tool definitions, and so what they cost. All but `text` in tokens. */
export interface ToolCosts {
  /** Once, where a request has any tool. */
  readonly once: number;
  /** For each tool. */
  readonly each: number;
  /** For a tool's first property, and for each of its properties. */
  readonly firstProperty: number;
  readonly property: number;
  /** For a property with an enum, and for each of its values. */
  readonly enumeration: number;
  readonly value: number;
  /** What of a definition is text: `words` are names, types, descriptions and values; `json` is all of it. */
  readonly text: "words" | "json";
}

interface Definition {
  readonly name: string;
  readonly description: string;
  readonly properties: readonly (readonly [string, Property])[];
}

interface Property {
  readonly type: string;
  readonly description: string;
  readonly values: readonly string[];
}

/** Definitions longer than this, in UTF-16 units, are counted as JSON text and not taken apart. */
const longestParsed = 65_536;

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function string(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function propertyOf(value: unknown): Property {
  const { type, description, enum: values } = record(value);
  return {
    type: string(type),
    description: string(description),
    values: Array.isArray(values) ? values.map(String) : [],
  };
}

/** Reads a tool as OpenAI (`function.parameters`), Anthropic (`input_schema`) or Gemini (`parameters`) write it. */
function read(json: string): Definition | null {
  if (json.length > longestParsed) return null;
  try {
    const outer = record(JSON.parse(json));
    const tool = "function" in outer ? record(outer["function"]) : outer;
    const properties = record(record(tool["parameters"] ?? tool["input_schema"])["properties"]);
    return {
      name: string(tool["name"]),
      description: string(tool["description"]),
      properties: Object.entries(properties).map(
        ([name, value]) => [name, propertyOf(value)] as const,
      ),
    };
  } catch {
    return null;
  }
}

function wordTokens(costs: ToolCosts, tool: Definition, count: CountText): number {
  let tokens = count(`${tool.name}:${tool.description.replace(/\.$/, "")}`);
  for (const [name, { type, description, values }] of tool.properties) {
    tokens += count(`${name}:${type}:${description.replace(/\.$/, "")}`);
    for (const value of values) tokens += costs.value + count(value);
  }
  return tokens;
}

/**
 * Tokens for one tool definition, without `costs.once`.
 *
 * An approximation: providers do not publish their templates. Nested schemas count only where `text` is
 * `json`; what is wrong on the whole, the learned ratio to the provider's own count mends.
 */
export function toolTokens(costs: ToolCosts, json: string, count: CountText): number {
  const tool = read(json);
  if (tool === null) return costs.each + count(json);
  const { properties } = tool;
  const enumerations = properties.filter(([, property]) => property.values.length > 0).length;
  const structure =
    costs.each +
    (properties.length > 0 ? costs.firstProperty : 0) +
    costs.property * properties.length +
    costs.enumeration * enumerations;
  return structure + (costs.text === "json" ? count(json) : wordTokens(costs, tool, count));
}
