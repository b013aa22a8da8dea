/** How many tokens a text has. Special tokens' names in it are ordinary text: it comes from users. */
export type CountText = (text: string) => number;
