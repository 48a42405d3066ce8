#!/usr/bin/env python3
"""What lm-evaluation-harness asks, hashes and computes, written down without the implementation under test.

Real jinja2, yaml, json, hashlib and random.Random do here what they do in the harness; the rest follows the harness's published source
(lm_eval/api/task.py, samplers.py, metrics.py, utils.py). Run once; the output is kept:  ./make_expected.py <shared folder>
"""
import ast, hashlib, json, math, os, random, re, string, sys
import jinja2, yaml

SHARED = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
TASKS = os.path.join(SHARED, 'data', 'lm_eval_tasks')
CHAT = "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}" \
       "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

# ---------------------------------------------------------------- documents for the datasets that are not in shared/
NAMES = ["Zoë", "O'Neil", "Dr. \"Ace\" Li", "北京", "Ana  Maria", "B\\slash", "Émile", "x\ty", "Ünal", "plain"]

def docs(kind, n, seed):
    r = random.Random(seed)
    out = []
    for i in range(n):
        name, other = NAMES[i % 10], NAMES[(i * 3 + 1) % 10]
        a, b = r.randrange(2, 99), r.randrange(2, 99)
        if kind == 'arc':
            labels = list("ABCD") if i % 3 else list("1234")
            out.append(dict(id=f"Q{i}", question=f"What does {name} get from {a} and {b}?",
                            choices=dict(text=[str(a + b), f"{a}'s \"{b}\"", "it's none", f" both ({a})"], label=labels), answerKey=labels[i % 4]))
        elif kind == 'hellaswag':
            out.append(dict(ind=i, activity_label=f"Making {name}", ctx_a=f"{other} takes [header] {a} eggs.", ctx_b="then SHE" if i % 2 else "",
                            ctx="unused", endings=[f"cooks [title] {b} of them.", "sings  a song [step] loudly.", f"counts {a}.", "leaves."],
                            source_id=f"s~{i}", split="val", split_type="indomain", label=str(i % 4)))
        elif kind == 'winogrande':
            out.append(dict(sentence=f"{name} met {other} because _ had {a} apples.", option1=name, option2=other, answer=str(1 + i % 2)))
        elif kind == 'mmlu':
            out.append(dict(question=f"  Which bone has {a} parts, {name}? ", subject="anatomy", choices=[f"one {a}", f"two {b}", "three", "none"], answer=i % 4))
        elif kind == 'piqa':
            out.append(dict(goal=f"To carry {a} boxes, {name} should", sol1=f"use {b} hands.", sol2="kick \"them\" over.", label=i % 2))
        elif kind == 'sciq':
            out.append(dict(question=f"What is {a} times {b}?", distractor3="zero", distractor1=f"{a}", distractor2=f"{b}",
                            correct_answer=str(a * b), support=f"  {name} knows that {a} is a number."))
        elif kind == 'openbookqa':
            out.append(dict(id=str(i), question_stem=f"{name} sees {a} stars because", choices=dict(text=["it is night", "day's long", f"{b}", "the \"sun\""],
                            label=list("ABCD")), answerKey=(" " if i % 2 else "") + "ABCD"[i % 4]))
        elif kind == 'boolq':
            out.append(dict(question=f"is {a} more than {b}", passage=f"{name} says {a} and {other} says {b}.", idx=i, label=int(a > b)))
        elif kind == 'truthfulqa':
            out.append(dict(question=f"Can {name} eat {a} apples?", mc1_targets=dict(choices=[f"{name} cannot.", "Yes.", f"Only {b}."], labels=[1, 0, 0]),
                            mc2_targets=dict(choices=["No one can.", f"{name} cannot.", "Yes.", f"Only {b}."], labels=[1, 1, 0, 0])))
        elif kind == 'lambada':
            out.append(dict(text=f"{name} had {a} coins and gave {b} of them to {other}, who thanked {name}"))
        elif kind == 'wikitext':
            out.append(dict(page=f" = {name} = \n\n In {1900 + a} , the @-@ town had {b} @,@ 000 people ; \" {other} \" ( its mayor ) said : no ! \n 's N $ 5 @.@ 5 [ {a} ]\n"))
        elif kind == 'triviaqa':
            out.append(dict(question=f"Who had {a} coins", question_id=f"t{i}", answer=dict(aliases=[name, f"{name} {other}"], value=name)))
        elif kind == 'nq_open':
            out.append(dict(question=f"who is {name}", answer=[other, f"the {other}"]))
        elif kind == 'humaneval':
            out.append(dict(task_id=f"HumanEval/{i}", prompt=f"def add{i}(a, b):\n    \"\"\" {name} \"\"\"\n", canonical_solution="    return a + b\n",
                            test=f"def check(f):\n    assert f({a}, {b}) == {a + b}\n", entry_point=f"add{i}"))
        elif kind == 'ifeval':
            ids = [["punctuation:no_comma"], ["length_constraints:number_words", "keywords:existence"], ["detectable_format:title"],
                   ["change_case:english_lowercase"], ["startend:quotation"]][i % 5]
            kw = [{}] if len(ids) == 1 else [dict(relation="at least", num_words=5), dict(keywords=["coins"])]
            out.append(dict(key=1000 + i, prompt=f"Tell {name} about {a} coins.", instruction_id_list=ids, kwargs=kw))
    return out

DATA = {  # dataset folder: {split: (kind, documents, seed)}
    'ai2_arc/ARC-Easy': dict(train=('arc', 40, 1), validation=('arc', 6, 2), test=('arc', 7, 3)),
    'Rowan/hellaswag': dict(train=('hellaswag', 30, 4), validation=('hellaswag', 6, 5)),
    'winogrande/winogrande_xl': dict(train=('winogrande', 25, 6), validation=('winogrande', 6, 7)),
    'mmlu/anatomy': dict(dev=('mmlu', 5, 8), test=('mmlu', 6, 9)),
    'piqa': dict(train=('piqa', 24, 10), validation=('piqa', 6, 11)),
    'sciq': dict(train=('sciq', 12, 12), validation=('sciq', 6, 13), test=('sciq', 6, 14)),
    'openbookqa/main': dict(train=('openbookqa', 22, 15), validation=('openbookqa', 6, 16), test=('openbookqa', 6, 17)),
    'super_glue/boolq': dict(train=('boolq', 50, 18), validation=('boolq', 6, 19)),
    'truthful_qa/multiple_choice': dict(validation=('truthfulqa', 6, 20)),
    'lambada_openai': dict(test=('lambada', 6, 21)),
    'wikitext_document_level/wikitext-2-raw-v1': dict(train=('wikitext', 1, 22), validation=('wikitext', 1, 23), test=('wikitext', 5, 24)),
    'trivia_qa/rc.nocontext': dict(train=('triviaqa', 100, 25), validation=('triviaqa', 6, 26)),
    'nq_open': dict(train=('nq_open', 60, 27), validation=('nq_open', 6, 28)),
    'openai_humaneval': dict(test=('humaneval', 5, 29)),
    'IFEval': dict(train=('ifeval', 5, 30)),
}
WHERE = {'allenai/ai2_arc': 'ai2_arc', 'Rowan/hellaswag': 'Rowan/hellaswag', 'allenai/winogrande': 'winogrande', 'cais/mmlu': 'mmlu', 'baber/piqa': 'piqa',
         'allenai/sciq': 'sciq', 'allenai/openbookqa': 'openbookqa', 'aps/super_glue': 'super_glue', 'truthfulqa/truthful_qa': 'truthful_qa',
         'EleutherAI/lambada_openai': 'lambada_openai', 'EleutherAI/wikitext_document_level': 'wikitext_document_level',
         'mandarjoshi/trivia_qa': 'trivia_qa', 'google-research-datasets/nq_open': 'nq_open', 'openai/openai_humaneval': 'openai_humaneval',
         'google/IFEval': 'IFEval'}

def write_data():
    for folder, splits in DATA.items():
        path = os.path.join(HERE, 'data', folder)
        os.makedirs(path, exist_ok=True)
        for split, (kind, n, seed) in splits.items():
            with open(os.path.join(path, split + '.jsonl'), 'w') as f:
                for d in docs(kind, n, seed):
                    f.write(json.dumps(d, ensure_ascii=False) + '\n')

def load(dataset, name, split):
    if dataset == 'openai/gsm8k':
        return [json.loads(l) for l in open(os.path.join(SHARED, 'data', 'gsm8k', split + '.jsonl'))]
    if dataset == 'SaylorTwift/bbh':
        return json.load(open(os.path.join(SHARED, 'data', 'bbh', name + '.json')))['examples']
    path = os.path.join(HERE, 'data', WHERE[dataset])
    with_name = os.path.join(path, name or '')
    return [json.loads(l) for l in open(os.path.join(with_name if os.path.isdir(with_name) else path, split + '.jsonl'))]

# ---------------------------------------------------------------- the harness's helpers in Python
def hs_process(doc):
    def pre(t):
        t = t.strip().replace(" [title]", ". ")
        return re.sub("\\[.*?\\]", "", t).replace("  ", " ")
    ctx = doc["ctx_a"] + " " + doc["ctx_b"].capitalize()
    return {**doc, "query": pre(doc["activity_label"] + ": " + ctx), "choices": [pre(e) for e in doc["endings"]], "gold": int(doc["label"])}

def wiki(doc):
    s = doc["page"]
    s = s.replace("s '", "s'")
    s = re.sub(r"/' [0-9]/", r"/'[0-9]/", s)
    for a, b in ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."), (" : ", ": "), (" ; ", "; "), (" . ", ". "), (" ! ", "! "), (" ? ", "? "), (" , ", ", ")):
        s = s.replace(a, b)
    s = re.sub(r"\(\s*([^\)]*?)\s*\)", r"(\1)", s)
    s = re.sub(r"\[\s*([^\]]*?)\s*\]", r"[\1]", s)
    s = re.sub(r"{\s*([^}]*?)\s*}", r"{\1}", s)
    s = re.sub(r"\"\s*([^\"]*?)\s*\"", r'"\1"', s)
    s = re.sub(r"'\s*([^']*?)\s*'", r"'\1'", s)
    for a, b in (("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" " + chr(176) + " ", chr(176)), (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")):
        s = s.replace(a, b)
    return s

FN = {
    'hellaswag/utils.process_docs': hs_process,
    'wikitext/preprocess_wikitext.wikitext_detokenizer': wiki,
    'winogrande/preprocess_winogrande.doc_to_text': lambda d: {"1": 0, "2": 1}[d["answer"]],
    'winogrande/preprocess_winogrande.doc_to_target': lambda d: d["sentence"][d["sentence"].index("_") + 1:].strip(),
    'winogrande/preprocess_winogrande.doc_to_choice': lambda d: [d["sentence"][:d["sentence"].index("_")] + o for o in (d["option1"], d["option2"])],
}

# ---------------------------------------------------------------- task files
class F(str):
    pass

def read(path):
    class L(yaml.SafeLoader):
        pass
    L.add_constructor('!function', lambda l, n: F(os.path.basename(os.path.dirname(path)) + '/' + n.value))
    c = yaml.load(open(path), L)
    if 'include' in c:
        base = read(os.path.join(os.path.dirname(path), c.pop('include')))
        base.update(c)
        c = base
    return c

ENV = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
def render(t, doc):
    return ENV.from_string(t).render(**doc)

class Task:
    def __init__(self, path, num_fewshot=None):
        c = self.c = read(os.path.join(TASKS, path))
        self.kind = c.get('output_type', 'generate_until')
        self.n = c.get('num_fewshot') or 0
        if num_fewshot is not None and c.get('num_fewshot') != 0:
            self.n = num_fewshot
        self.delim, self.few = c.get('target_delimiter', ' '), c.get('fewshot_delimiter', '\n\n')
        split = c.get('test_split') or c.get('validation_split')
        self.docs = self.process(load(c['dataset_path'], c.get('dataset_name'), split))
        fc = c.get('fewshot_config') or {}
        self.pool = []
        if self.n:
            if c.get('fewshot_split'):
                self.pool = self.process(load(c['dataset_path'], c.get('dataset_name'), c['fewshot_split']))
            elif fc.get('samples'):
                self.pool = fc['samples']
            else:
                s = c.get('training_split') or c.get('validation_split') or c.get('test_split')
                self.pool = self.process(load(c['dataset_path'], c.get('dataset_name'), s))
        self.first = fc.get('sampler') == 'first_n'
        self.rnd = random.Random(1234)

    def process(self, docs):
        f = self.c.get('process_docs')
        return [FN[f](d) for d in docs] if f else docs

    def field(self, key, doc):
        f = self.c.get(key)
        if isinstance(f, F):
            return FN[f](doc)
        if not isinstance(f, str):
            return f
        if f in doc:
            return doc[f]
        s = render(f, doc)
        if key == 'doc_to_choice':
            return ast.literal_eval(s)
        if s.isdigit() and self.c.get('doc_to_choice') is not None:
            return int(s)
        if key == 'doc_to_target' and len(s) >= 2 and s[0] == '[' and s[-1] == ']':
            try:
                return ast.literal_eval(s)
            except (SyntaxError, ValueError):
                return s
        return s

    def choices(self, doc):
        return self.field('doc_to_choice', doc) if self.c.get('doc_to_choice') is not None else None

    def shot(self, d):
        q, a, ch = self.field('doc_to_text', d), self.field('doc_to_target', d), self.choices(d)
        q = q if isinstance(q, str) else ch[q]
        a = str(a[0]) if isinstance(a, list) else a if ch is None or isinstance(a, str) else str(ch[a])
        return q, a

    def shots(self, doc):
        if not self.n:
            return []
        k = self.n + (1 if self.c.get('fewshot_split') == self.c.get('test_split') else 0)
        drawn = self.pool[:k] if self.first else self.rnd.sample(self.pool, k)
        return [self.shot(d) for d in [x for x in drawn if x != doc][:self.n]]

    def prefix(self, doc):
        g = self.c.get('gen_prefix')
        return None if g is None else doc[g] if g in doc else render(g, doc)

    def context(self, doc, chat, multiturn, system):
        desc = render(self.c['description'], doc) if self.c.get('description') else ''
        sys_ = self.few.join([x for x in (system, desc) if x])
        shots, q, g = self.shots(doc), self.field('doc_to_text', doc), self.prefix(doc)
        inputs = isinstance(q, int) and self.c.get('doc_to_choice') is not None
        body = ''.join(a == '' and x or x + self.delim + a + self.few for x, a in shots)
        if not chat:
            return sys_ + body + ('' if inputs else str(q) + ('' if g is None else self.delim + g))
        m = [dict(role='system', content=sys_)] if sys_ else []
        if multiturn:
            for x, a in shots:
                m += [dict(role='user', content=x), dict(role='assistant', content=a)]
            m.append(dict(role='user', content=q))
        else:
            m.append(dict(role='user', content=body + q))
        if g:
            m.append(dict(role='assistant', content=g))
        out = jinja2.Environment().from_string(CHAT).render(messages=m, add_generation_prompt=not g)
        return out[:out.rindex(g) + len(g)] if g else out

    def arguments(self, doc, chat, multiturn, system):
        t, ch = self.field('doc_to_target', doc), self.choices(doc)
        if self.kind == 'loglikelihood_rolling':
            return [[t]]
        ctx = self.context(doc, chat, multiturn, system)
        if self.kind == 'loglikelihood':
            return [[ctx, t]]
        if self.kind == 'generate_until':
            return [[ctx]]
        d = '' if chat else self.delim
        q = self.field('doc_to_text', doc)
        if isinstance(q, int):
            return [[ctx + c, d + t] for c in ch]
        return [[ctx, d + c] for c in ch]

def sha(s):
    return hashlib.sha256(s.encode('utf-8')).hexdigest()

def expected(path, limit, num_fewshot=None, chat=False, multiturn=False, system=None):
    t = Task(path, num_fewshot)
    out = []
    for i, d in enumerate(t.docs[:limit]):
        args = t.arguments(d, chat, multiturn, system)
        target = t.field('doc_to_target', d)
        out.append(dict(doc_id=i, arguments=args, target=str(target),
                        doc_hash=sha(json.dumps(d, indent=2, ensure_ascii=False)), prompt_hash=sha(args[0][0]), target_hash=sha(str(target))))
    return dict(task=t.c['task'], num_fewshot=t.n, documents=len(t.docs), samples=out,
                task_hash=sha(''.join(s['doc_hash'] + s['prompt_hash'] + s['target_hash'] for s in out)))

write_data()
BBH = ['boolean_expressions', 'date_understanding', 'navigate', 'object_counting', 'web_of_lies', 'word_sorting']
ZERO = ('truthfulqa/truthfulqa_mc1.yaml', 'truthfulqa/truthfulqa_mc2.yaml', 'wikitext/wikitext.yaml', 'ifeval/ifeval.yaml', 'humaneval/humaneval.yaml',
        'lambada/lambada_openai.yaml', 'gsm8k/gsm8k-cot-zeroshot.yaml') + tuple(f'bbh/zeroshot/{b}.yaml' for b in BBH)
OWN = ('gsm8k/gsm8k.yaml', 'gsm8k/gsm8k-cot.yaml', 'gsm8k/gsm8k-cot-llama.yaml') + tuple(f'bbh/cot_fewshot/{b}.yaml' for b in BBH)
THREE = ('arc/arc_easy.yaml', 'hellaswag/hellaswag.yaml', 'winogrande/default.yaml', 'mmlu/default/mmlu_anatomy.yaml', 'piqa/piqa.yaml', 'sciq/sciq.yaml',
         'openbookqa/openbookqa.yaml', 'super_glue/boolq/default.yaml', 'triviaqa/default.yaml', 'nq_open/nq_open.yaml')
with open(os.path.join(HERE, 'expected.json'), 'w') as f:
    json.dump(dict(
        own=[expected(p, 5) for p in ZERO + OWN],
        three=[expected(p, 5, 3) for p in THREE],
        chat=[expected(p, 5, 3, chat=True, system='Be brief.') for p in THREE[:1] + THREE[3:6] + ('gsm8k/gsm8k.yaml',)],
        multiturn=[expected(p, 5, 3, chat=True, multiturn=True) for p in THREE[:1] + ('gsm8k/gsm8k.yaml', 'humaneval/humaneval_instruct.yaml')],
    ), f, ensure_ascii=False, indent=1)

# ---------------------------------------------------------------- metrics of given answers
def mean(a):
    return sum(a) / len(a)
def sd(a):
    m = mean(a)
    return math.sqrt(sum((x - m) ** 2 for x in a) / (len(a) - 1))
def bootstrap(f, xs, iters):
    res, chunk = [], min(1000, iters)
    for i in range(iters // chunk):
        r = random.Random()
        r.seed(i)
        for _ in range(chunk):
            res.append(f(r.choices(xs, k=len(xs))))
    return sd(res)
def softmax(v):
    e = [math.exp(x - max(v)) for x in v]
    return [x / sum(e) for x in e]
def argmax(v):
    return v.index(max(v))
def f1(items):
    tp = sum(1 for g, p in items if g == p == 1)
    fp = sum(1 for g, p in items if g == 0 and p == 1)
    fn = sum(1 for g, p in items if g == 1 and p == 0)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
def mcc(items):
    tp = sum(1 for g, p in items if g == p == 1); tn = sum(1 for g, p in items if g == p == 0)
    fp = sum(1 for g, p in items if g == 0 and p == 1); fn = sum(1 for g, p in items if g == 1 and p == 0)
    d = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(d) if d else 0.0

def choice_metrics():
    r = random.Random(77)
    cases, acc = [], {k: [] for k in ('acc', 'acc_norm', 'acc_bytes', 'acc_mutual_info', 'exact_match', 'brier_score', 'f1', 'mcc')}
    for i in range(25):
        choices = ["no", "yes"] if i % 2 else ["né", "oui 北"]
        gold = r.randrange(2)
        ll = [-r.uniform(1, 9) for _ in range(4)]
        greedy = [r.random() < .3 for _ in range(4)]
        c, u = ll[:2], ll[2:]
        pred = argmax(c)
        acc['acc'].append(float(pred == gold))
        acc['acc_norm'].append(float(argmax([x / len(s) for x, s in zip(c, choices)]) == gold))
        acc['acc_bytes'].append(float(argmax([x / len(s.encode()) for x, s in zip(c, choices)]) == gold))
        acc['acc_mutual_info'].append(float(argmax([x - y for x, y in zip(c, u)]) == gold))
        acc['exact_match'].append(int(greedy[gold]))
        acc['brier_score'].append(sum((p - (k == gold)) ** 2 for k, p in enumerate(softmax(c))))
        acc['f1'].append((gold, pred)); acc['mcc'].append((gold, pred))
        cases.append(dict(choices=choices, gold=gold, answers=[[x, g] for x, g in zip(ll, greedy)]))
    fig = {k: [mean(acc[k]), sd(acc[k]) / math.sqrt(25)] for k in ('acc', 'acc_norm', 'acc_bytes', 'acc_mutual_info', 'exact_match')}
    fig['brier_score'] = [mean(acc['brier_score']), None]
    fig['f1'] = [f1(acc['f1']), bootstrap(f1, acc['f1'], 2000)]
    fig['mcc'] = [mcc(acc['mcc']), bootstrap(mcc, acc['mcc'], 2000)]
    return dict(cases=cases, figures=fig)

def generation_metrics():
    opts = dict(ignore_case=True, ignore_punctuation=False, regexes_to_ignore=[",", "\\$", "(?s).*#### ", "\\.$"])
    filters = {  # the filters of gsm8k, and some more, by re.findall itself
        'strict-match': ("#### (\\-?[0-9\\.\\,]+)", 0),
        'flexible-extract': ("(-?[$0-9.,]{2,})|(-?[0-9]+)", -1),
        'cot': ("(?<=the answer is )(.*)(?=.)", 0),
    }
    texts = ["so 5+5.\n#### 10", "It's $1,234.50 in all", "the answer is (A).", "nothing", "#### -7,000.", "a 3 b 4", "#### $5", "the answer is 42. the answer is 43!"]
    golds = ["x\n#### 10", "1234.50", "(a)", "nothing.", "#### -7000", "4", "5", "42"]
    out = []
    for name, (pat, sel) in filters.items():
        for t, g in zip(texts, golds):
            m = re.compile(pat).findall(t)
            if m:
                m = m[sel]
                if isinstance(m, tuple):
                    m = [x for x in m if x][0]
                m = m.strip()
            else:
                m = "[invalid]"
            a, b = m, g
            for s in opts['regexes_to_ignore']:
                a, b = re.sub(s, "", a), re.sub(s, "", b)
            out.append(dict(filter=name, text=t, gold=g, filtered=m, exact_match=float(a.lower() == b.lower())))
    lls = [-random.Random(5).uniform(1, 9) for _ in range(1)] + [-2.5, -0.25, -7.125, -3.0, -1.5]
    weighted = [(-12.5, 5, 30), (-20.25, 9, 51), (-7.75, 3, 17)]
    return dict(regex=out, options=opts,
                perplexity=dict(items=lls, value=math.exp(-mean(lls)), stderr=bootstrap(lambda x: math.exp(-mean(x)), lls, 3000)),
                rolling=dict(items=weighted, word_perplexity=math.exp(-sum(a for a, _, _ in weighted) / sum(w for _, w, _ in weighted)),
                             byte_perplexity=math.exp(-sum(a for a, _, _ in weighted) / sum(b for _, _, b in weighted)),
                             bits_per_byte=-sum(a for a, _, _ in weighted) / sum(b for _, _, b in weighted) / math.log(2)),
                group=dict(metrics=[.5, .25, 1.0], sizes=[10, 30, 5], stderrs=[.1, .05, 0.0],
                           weighted=sum(m * s for m, s in zip([.5, .25, 1.0], [10, 30, 5])) / 45, mean=mean([.5, .25, 1.0]),
                           stderr=math.sqrt(sum((s - 1) * e ** 2 * s for s, e in zip([10, 30, 5], [.1, .05, 0.0])) / (45 - 3) / 45)))

def python_text():
    values = [1e16, 1e-5, 0.1, 123456789.125, 1e22, 5e-324, -0.0, 100.0, 1.5e300, 2.0 / 3, -2.5, 1e15, 123456789012345680.0]
    objects = [["it's", 'say "hi"', "both ' and \"", "tab\t\n\\", "é北\x00\x7f\u200b"], {"a": None, "b": True, "c": [1, 2.5, "x"]}, [], {}, "plain", {"n": {"m": []}}]
    return dict(floats=[[v, repr(v)] for v in values], objects=[dict(value=o, str=str(o), dumps=json.dumps(o, ensure_ascii=False), indented=json.dumps(o, indent=2, ensure_ascii=False)) for o in objects])

with open(os.path.join(HERE, 'expected_metrics.json'), 'w') as f:
    json.dump(dict(choice=choice_metrics(), generation=generation_metrics(), python=python_text()), f, ensure_ascii=False, indent=1)
