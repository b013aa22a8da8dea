/** Texts of every kind that people send to models, each with its kind. Written for these tests. */
export const samples: readonly (readonly [kind: string, text: string])[] = [
  [
    "prose",
    "The ferry left at six, an hour late, and nobody on deck seemed to mind. A woman in a yellow coat was reading aloud to her son, who kept asking what a lighthouse eats.",
  ],
  [
    "prose",
    "We'd expected the committee to reject the proposal; instead they asked for twice the budget. “Don't think small,” the chairman said, “it's what got us here.”",
  ],
  [
    "prose",
    "In 1997, about 3,400 people lived in the valley. By 2024 the number had fallen to 612, of whom nearly half were over 65 (the national average is 18.3 %).",
  ],
  [
    "prose",
    "Please summarise the attached report in three bullet points, then list any risks you would raise with the board. Keep it under 150 words and avoid jargon.",
  ],
  [
    "prose",
    "You are a careful assistant. Answer only from the documents given, cite the section for each claim, and say so plainly when the documents do not contain the answer.\n\nQuestion: what happens to unused holiday at the end of the year?",
  ],
  [
    "prose",
    "It was THE BEST of times, honestly -- I'll never forget Aunt Márta's naïve façade, the crème brûlée, or how she'd've said \"couldn't care less\" ten times a day!!!",
  ],
  [
    "markdown",
    "# Release notes\n\n## 2.4.0\n\n- **Added**: retries with jitter (see [the guide](https://example.org/guide#retries))\n- *Fixed*: a leak in `close()`\n\n| option | default |\n|---|---|\n| `timeout` | 30 s |\n| `retries` | 3 |\n",
  ],
  [
    "markdown",
    '1. First, install it:\n\n   ```sh\n   curl -fsSL https://example.com/install.sh | sh -s -- --prefix="$HOME/.local"\n   ```\n\n2. Then restart your shell.\n\n> **Note**\n> On Windows use WSL.\n',
  ],
  [
    "german",
    "Die Straßenbahn fährt heute wegen Bauarbeiten nur bis zum Hauptbahnhof; Fahrgäste mit Ziel Universität benutzen bitte den Schienenersatzverkehr. Größere Verspätungen sind möglich.",
  ],
  [
    "french",
    "L'hiver s'annonçait rude : déjà, au mois d'octobre, les fenêtres étaient couvertes de givre, et l'on n'entendait plus, le soir, que le craquement des bûches dans la cheminée.",
  ],
  [
    "spanish",
    "¿Cuántas veces te lo he dicho? El niño corrió hacia la montaña sin mirar atrás, y mañana, según el pronóstico, volverá a llover en toda la región.",
  ],
  [
    "russian",
    "Поезд прибыл на станцию ровно в полночь. На перроне никого не было, только старый сторож с фонарём медленно шёл вдоль путей и что-то тихо напевал.",
  ],
  [
    "greek",
    "Το καράβι έφυγε νωρίς το πρωί από το λιμάνι και οι άνθρωποι στην προκυμαία κουνούσαν τα μαντήλια τους ώσπου χάθηκε πίσω από το ακρωτήρι.",
  ],
  [
    "chinese",
    "昨天下午，图书馆里非常安静。一位老先生坐在窗边看报纸，旁边的学生正在准备期末考试。外面下着小雨，街上的行人都打着伞匆匆走过。",
  ],
  [
    "chinese",
    "请将以下段落翻译成英文，并保持原文的语气：人工智能技术的快速发展，使得越来越多的企业开始重新思考自己的业务流程。到2025年，预计有60%的公司会采用这类工具。",
  ],
  [
    "chinese",
    "这个函数的时间复杂度是O(n log n)，因为我们先对数组进行排序，然后再遍历一次。如果输入已经有序，可以省略排序步骤，从而降到O(n)。",
  ],
  [
    "traditional",
    "台北的夏天又濕又熱，巷口的冰店總是大排長龍。老闆娘一邊刨冰，一邊和熟客聊著今年颱風的消息。",
  ],
  [
    "japanese",
    "駅前の小さな喫茶店で、彼女は毎朝コーヒーを飲みながら新聞を読んでいた。窓の外では、桜の花びらが風に舞っている。今日もいい天気ですね。",
  ],
  [
    "korean",
    "아침 일찍 시장에 가면 싱싱한 생선과 채소를 싸게 살 수 있다. 할머니는 늘 같은 가게에서 두부를 사시고, 주인아주머니와 한참 동안 이야기를 나누신다.",
  ],
  [
    "arabic",
    "كان السوق مزدحماً في ذلك الصباح، وكانت رائحة الخبز الطازج تملأ المكان. جلس الرجل العجوز أمام دكانه يراقب المارة ويبتسم للأطفال.",
  ],
  ["hebrew", "הרכבת האחרונה לירושלים יוצאת בעשר וחצי, ולכן כדאי להגיע לתחנה לפחות רבע שעה קודם."],
  [
    "hindi",
    "सुबह की पहली बस पहाड़ी गाँव से शहर की ओर निकलती है। रास्ते में बच्चे स्कूल जाने के लिए चढ़ते हैं और किसान अपनी सब्ज़ियाँ बाज़ार ले जाते हैं।",
  ],
  ["thai", "เช้านี้ฝนตกหนักมาก ถนนหน้าบ้านน้ำท่วมถึงหัวเข่า เด็กๆ เลยไม่ต้องไปโรงเรียน"],
  ["tamil", "கடற்கரையில் மாலை நேரத்தில் காற்று மிகவும் இதமாக இருக்கும்."],
  [
    "vietnamese",
    "Sáng sớm, chợ nổi Cái Răng đã đông nghịt thuyền bè chở đầy trái cây và rau củ tươi.",
  ],
  [
    "typescript",
    "export async function retry<T>(attempt: () => Promise<T>, times = 3): Promise<T> {\n  for (let i = 0; ; i++) {\n    try {\n      return await attempt();\n    } catch (error) {\n      if (i + 1 >= times) throw error;\n      await sleep(2 ** i * 100);\n    }\n  }\n}\n",
  ],
  [
    "python",
    'class Node:\n    """A node of a binary tree."""\n\n    def __init__(self, key, left=None, right=None):\n        self.key, self.left, self.right = key, left, right\n\n    def __iter__(self):\n        if self.left is not None:\n            yield from self.left\n        yield self.key\n        if self.right is not None:\n            yield from self.right\n',
  ],
  [
    "c",
    '#include <stdio.h>\n\nstatic unsigned long hash(const unsigned char *s)\n{\n\tunsigned long h = 5381;\n\twhile (*s)\n\t\th = ((h << 5) + h) ^ *s++;\n\treturn h;\n}\n\nint main(int argc, char **argv)\n{\n\tprintf("%08lx\\n", hash((unsigned char *)argv[1]));\n\treturn 0;\n}\n',
  ],
  [
    "rust",
    "impl<K: Hash + Eq, V> Cache<K, V> {\n    pub fn get(&mut self, key: &K) -> Option<&V> {\n        let entry = self.map.get_mut(key)?;\n        entry.used_at = self.tick;\n        Some(&entry.value)\n    }\n}\n",
  ],
  [
    "sql",
    "SELECT c.name, COUNT(*) AS orders, SUM(o.total)::numeric(10,2)\nFROM customers c\nLEFT JOIN orders o ON o.customer_id = c.id AND o.placed_at >= '2024-01-01'\nGROUP BY c.name\nHAVING SUM(o.total) > 1000\nORDER BY 3 DESC NULLS LAST\nLIMIT 20;\n",
  ],
  [
    "html",
    '<section class="card card--wide" id="pricing">\n  <h2>Pricing &amp; plans</h2>\n  <p data-i18n="intro">From <strong>9&nbsp;€</strong> a month.</p>\n  <a href="/signup?plan=pro&amp;ref=home" onclick="track(\'signup\')">Try it</a>\n</section>\n',
  ],
  [
    "css",
    '@media (min-width: 48rem) {\n  .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1.5rem; }\n  .grid > *:not(:last-child)::after { content: "\\2014"; color: #7f8c8d; }\n}\n',
  ],
  [
    "shell",
    'for f in "$dir"/*.log; do\n  [ -s "$f" ] || continue\n  gzip -9 < "$f" > "$out/$(basename "${f%.log}")-$(date +%F).gz" && : > "$f"\ndone 2>&1 | tee -a /var/log/rotate.log\n',
  ],
  [
    "json",
    '{"id":"evt_8Fh2kLq","type":"invoice.paid","created":1718031122,"data":{"amount":129900,"currency":"eur","lines":[{"sku":"A-113","qty":2,"price":49.95},{"sku":"B-007","qty":1,"price":30.0}],"discount":null,"paid":true}}',
  ],
  [
    "json",
    '{\n  "compilerOptions": {\n    "target": "ESNext",\n    "strict": true,\n    "paths": { "@app/*": ["./src/*"] }\n  },\n  "include": ["src", "test"],\n  "exclude": ["**/*.d.ts"]\n}\n',
  ],
  [
    "json",
    '[{"role":"system","content":"You are terse."},{"role":"user","content":"Wie heißt die Hauptstadt von Österreich?\\n\\nAntworte auf Deutsch. \\ud83d\\ude00"}]',
  ],
  [
    "yaml",
    'services:\n  web:\n    image: registry.example.com/web:1.27.3@sha256:9f86d081884c7d659a2feaa0c55ad015\n    ports: ["8080:80"]\n    environment:\n      - LOG_LEVEL=debug\n      - DATABASE_URL=postgres://app:secret@db:5432/app?sslmode=disable\n',
  ],
  [
    "log",
    '10.0.4.17 - - [12/Mar/2025:06:25:24 +0000] "GET /api/v2/items?page=3&size=50 HTTP/1.1" 200 18342 "-" "curl/8.5.0"\n2025-03-12T06:25:24.118Z WARN  [pool-2-thread-7] c.e.Worker - slow query (1734 ms): 0x7ffe3a10b2c0\n',
  ],
  [
    "csv",
    "date,open,high,low,close,volume\n2025-03-10,171.22,173.05,169.90,172.41,48211900\n2025-03-11,172.50,172.99,168.13,168.77,61002345\n2025-03-12,168.80,170.44,167.61,170.02,52874410\n",
  ],
  [
    "base64",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
  ],
  [
    "numbers",
    "3.14159265358979323846264338327950288419716939937510 +49 (0)30 901820 0xDEADBEEF 1e-300 192.168.0.1/24 550e8400-e29b-41d4-a716-446655440000",
  ],
  [
    "maths",
    "∀ε>0 ∃δ>0: |x−x₀|<δ ⇒ |f(x)−f(x₀)|<ε; \\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2} ≈ 0.8862, ½ + ⅓ = ⅚, 10² × 10³ = 10⁵",
  ],
  ["emoji", "Great job 🎉🎉🎉!!! See you at 🕖 — bring 🍕 and 🥤 😅🤷‍♀️👩‍👩‍👧‍👦 🇩🇪🇯🇵 👍🏽 ❤️‍🔥 #️⃣ ™️ ©"],
  ["emoji", "😂😂😂😂😭😭🔥🔥💯 lol 😍🥰😘 ✨🌈🦄🧑‍🚀🏴󠁧󠁢󠁳󠁣󠁴󠁿 (╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ"],
  ["spaces", "a  b   c    d\te\t\tf \n g\r\n\r\n   h \u00a0 i \u2003j\u3000k \n\n\n\n  l   \n"],
  [
    "decomposed",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m \u1112\u1161\u11ab\u1100\u1173\u11af Z\u0323\u0307 q\u0307\u0323 \u212b \u2126 \ufb01 \u0958 e\u0301\u0316\u0301\u0316",
  ],
  [
    "specials",
    "<|endoftext|><|im_start|>user\nHi<|im_end|> [INST] <s> </s> <think> <tool_call> <|eot_id|>",
  ],
];
