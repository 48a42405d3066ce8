#!/usr/bin/env python3
"""Documents for the datasets that are not in shared/, and what metrics make of given answers.

What the harness asks and finds for these documents is in expected.json, from the harness itself (tests/reference/harness.py). Python's own
json and random do here what they do in the harness; the rest follows lm_eval/api/metrics.py. Run once; the output is kept:  ./make_data.py
"""
import json, math, os, random, re

HERE = os.path.dirname(os.path.abspath(__file__))

# ---------------------------------------------------------------- documents
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
            none = dict(relation=None, num_words=None, keywords=None)
            kw = [none] if len(ids) == 1 else [{**none, "relation": "at least", "num_words": 5}, {**none, "keywords": ["coins"]}]
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

def write_data():
    for folder, splits in DATA.items():
        path = os.path.join(HERE, 'data', folder)
        os.makedirs(path, exist_ok=True)
        for split, (kind, n, seed) in splits.items():
            with open(os.path.join(path, split + '.jsonl'), 'w') as f:
                for d in docs(kind, n, seed):
                    f.write(json.dumps(d, ensure_ascii=False) + '\n')

write_data()

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
