/*
 * html_style.h - look of a page, and the only script in it.
 *
 * Colours of verdicts are Okabe and Ito's, darkened for light and lightened for dark
 * grounds to a contrast of at least 4.5; a sign and the word say the same.  Figures keep a
 * white ground in the dark, since their colours are chosen for one.
 */
#ifndef SUITES_HTML_STYLE_H
#define SUITES_HTML_STYLE_H

static const char html_style[] =
    ":root{color-scheme:light dark;--ink:#1b1b1b;--dim:#555;--ground:#fff;--card:#f5f6f7;"
    "--line:#cfd3d7;--link:#0b57a4;--yes:#00694d;--trend:#005b96;--no:#a63c00;--weak:#7a5200;"
    "--open:#555}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--dim:#b0b4b8;--ground:#16181a;"
    "--card:#202428;--line:#43494f;--link:#8fc1f5;--yes:#4fd1a5;--trend:#7cc4f5;--no:#ff9a5c;"
    "--weak:#f0c64a;--open:#b0b4b8}}\n"
    "*{box-sizing:border-box}\n"
    "html{font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}\n"
    "body{margin:0 auto;padding:1rem;max-width:80rem;background:var(--ground);color:var(--ink)}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}\n"
    "h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);"
    "padding-top:1rem}\n"
    "h3{font-size:1.05rem;margin:1.5rem 0 .5rem}\n"
    "p{margin:.5rem 0;max-width:60rem}\n"
    "h1,h2,h3,p,li,td,th,code,summary{overflow-wrap:anywhere}\n"
    "a{color:var(--link)}\n"
    "nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1rem}\n"
    ".dim,.why{color:var(--dim);font-size:.875rem}\n"
    ".why{display:block}\n"
    "code,pre{font:.85rem/1.45 ui-monospace,monospace}\n"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:4px;padding:.6rem;"
    "overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    ".box{overflow-x:auto;margin:.5rem 0 1rem;max-width:100%}\n"
    ".box:focus-visible,summary:focus-visible,a:focus-visible,button:focus-visible"
    "{outline:2px solid var(--link);outline-offset:1px}\n"
    "table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}\n"
    "caption{text-align:left;font-weight:600;padding:.25rem 0;white-space:nowrap}\n"
    "th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top;"
    "overflow-wrap:normal}\n"
    "thead th{background:var(--card)}\n"
    "tbody th{font-weight:400}\n"
    ".r{text-align:right}\n"
    "th button{all:unset;font:inherit;font-weight:600;cursor:pointer}\n"
    "th[aria-sort=ascending] button::after{content:' \\25b2'}\n"
    "th[aria-sort=descending] button::after{content:' \\25bc'}\n"
    "details{margin:.5rem 0}\n"
    "summary{cursor:pointer;padding:.15rem 0}\n"
    "figure{margin:1rem 0}\n"
    "figcaption{font-size:.875rem;margin-top:.25rem}\n"
    "svg.figure{display:block;width:100%;height:auto;background:#fff;"
    "border:1px solid var(--line);border-radius:4px}\n"
    "td details{margin:0}.count{white-space:nowrap}\n"
    /* a heat map is a picture of one pixel a cell: its colours must not run together */
    "svg.figure image{image-rendering:pixelated}\n"
    ".wide{min-width:13rem}code.line{white-space:nowrap}\n"
    ".v{font-weight:600;white-space:nowrap}\n"
    ".yes{color:var(--yes)}.trend{color:var(--trend)}.no{color:var(--no)}"
    ".weak{color:var(--weak)}.open{color:var(--open)}\n"
    ".claims td{min-width:6rem}.claims th[scope=row]{min-width:13rem}\n"
    /* a phone: every claim a card, every cell a line with its heading; figures scroll, since
     * their letters would be too small */
    "@media(max-width:40rem){body{padding:.75rem}\n"
    ".cards thead{position:absolute;clip-path:inset(50%);height:1px;width:1px;overflow:hidden}\n"
    ".cards,.cards tbody,.cards tr,.cards th,.cards td,.cards caption{display:block;"
    "white-space:normal}\n"
    ".cards tr{border:1px solid var(--line);border-radius:4px;margin:0 0 .75rem;padding:.4rem}\n"
    ".cards th,.cards td{border:0;padding:.1rem .2rem;text-align:left;min-width:0!important}\n"
    ".cards tbody th{font-weight:600}\n"
    ".cards td::before{content:attr(data-label) ': ';color:var(--dim)}\n"
    ".picture{overflow-x:auto}.picture svg.figure{min-width:44rem}}\n"
    "@media print{:root{--ink:#000;--dim:#333;--ground:#fff;--card:#f2f2f2;--line:#999;"
    "--link:#000;--yes:#00694d;--trend:#005b96;--no:#a63c00;--weak:#7a5200;--open:#444}\n"
    "html{font-size:10px}body{max-width:none;padding:0}nav{display:none}\n"
    ".box{overflow:visible}figure,tr{break-inside:avoid}h2,h3{break-after:avoid}\n"
    "table{font-size:.8rem}th,td{overflow-wrap:anywhere}caption,code.line{white-space:normal}\n"
    /* what is folded on the screen is whole on paper, with a script or without */
    "details::details-content{content-visibility:visible;block-size:auto}}\n";

/* Sorts a table by a click on a heading: numbers before texts, texts by letter. */
static const char html_script[] =
    "document.querySelectorAll('table.sort').forEach(t=>{\n"
    "const body=t.tBodies[0];if(!body)return;\n"
    "[...t.tHead.rows[0].cells].forEach((h,i)=>{\n"
    "const k=document.createElement('button');k.type='button';\n"
    "k.title='sort';k.append(...h.childNodes);h.append(k);\n"
    "k.addEventListener('click',()=>{\n"
    "const up=h.getAttribute('aria-sort')!=='ascending';\n"
    "for(const o of h.parentNode.cells)o.removeAttribute('aria-sort');\n"
    "h.setAttribute('aria-sort',up?'ascending':'descending');\n"
    "const text=r=>r.cells[i].textContent.trim();\n"
    "const number=s=>parseFloat(s.replace(/^about /,''));\n"
    "[...body.rows].sort((p,q)=>{\n"
    "const x=text(p),y=text(q),a=number(x),b=number(y);\n"
    "const d=isNaN(a)||isNaN(b)?isNaN(a)-isNaN(b)||x.localeCompare(y):a-b;\n"
    "return up?d:-d}).forEach(r=>body.append(r))})})})\n";

#endif
