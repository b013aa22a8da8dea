/** A script imported `with { type: "text" }`: its source. */
declare module "*.lua" {
  const source: string;
  export default source;
}
