#!/usr/bin/env python3
"""lm-evaluation-harness itself. On the documents and the story model that EvaluateIT has: what it asks, gets and finds is kept in
tests/src/test/resources/eval/expected.json. On random answers: what its filters, its exact match and IFEval's checks make of them, in
vectors.json.

    python -m venv --system-site-packages ref3 && ref3/bin/pip install --no-index --find-links ... torch==2.13.0+cpu transformers==5.18.0 \
        datasets sacrebleu scikit-learn dill more_itertools nltk immutabledict && ref3/bin/pip install --no-deps ... lm_eval==0.4.13
    ref3/bin/python tests/reference/harness.py ../shared
"""
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import types

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'src', 'test', 'resources', 'eval')
SHARED = sys.argv[1]


class CodeEval:
    """No code is run: humaneval is here for its prompts."""

    def compute(self, **_):
        return {'pass@1': 0.0}, None


def stubs():
    """What the harness imports and these tasks do not use, where it is not installed."""
    for name in ('pytablewriter', 'sqlitedict', 'rouge_score', 'langdetect', 'evaluate'):
        try:
            __import__(name)
        except ImportError:
            module = sys.modules[name] = types.ModuleType(name)
            module.load = lambda *_, **__: CodeEval()
            for used in ('LatexTableWriter', 'MarkdownTableWriter', 'SqliteDict', 'rouge_scorer', 'scoring'):
                setattr(module, used, object)


stubs()
import datasets  # noqa: E402


def local(path, name=None, **_):
    """load_dataset, of folders of JSON lines."""
    folder = next(f for root in (os.path.join(ROOT, 'data'), os.path.join(SHARED, 'data'))
                  for f in (os.path.join(root, path), os.path.join(root, path.split('/')[-1])) if os.path.isdir(f))
    if name and os.path.exists(os.path.join(folder, name + '.json')):
        with open(os.path.join(folder, name + '.json')) as file:
            return datasets.DatasetDict(test=datasets.Dataset.from_list(json.load(file)['examples']))
    if name and os.path.isdir(os.path.join(folder, name)):
        folder = os.path.join(folder, name)
    splits = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith('.jsonl'):
            with open(os.path.join(folder, file)) as lines:
                splits[file[:-len('.jsonl')]] = datasets.Dataset.from_list([json.loads(line) for line in lines])
    return datasets.DatasetDict(splits)


datasets.load_dataset = local
import lm_eval  # noqa: E402
from lm_eval.utils import hash_string  # noqa: E402

CHAT = "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}" \
       "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BBH = 'boolean_expressions date_understanding navigate object_counting web_of_lies word_sorting'.split()
ZERO = 'truthfulqa_mc1 truthfulqa_mc2 wikitext ifeval humaneval lambada_openai gsm8k_cot_zeroshot gsm8k gsm8k_cot gsm8k_cot_llama'.split()
THREE = 'arc_easy hellaswag winogrande mmlu_anatomy piqa sciq openbookqa boolq triviaqa nq_open'.split()
# object_counting without examples needs the package word2number.
CASES = {
    'own': dict(tasks=ZERO + ['bbh_zeroshot_' + b for b in BBH if b != 'object_counting'] + ['bbh_cot_fewshot_' + b for b in BBH]),
    'three': dict(tasks=THREE, num_fewshot=3),
    'chat': dict(tasks=THREE[:1] + THREE[2:6] + ['gsm8k', 'humaneval_instruct'], template='{{ bos_token }}' + CHAT, num_fewshot=3,
                 system_instruction='Be brief.'),
    'single': dict(tasks=THREE[:6] + ['gsm8k'], template=CHAT, num_fewshot=3, fewshot_as_multiturn=False, args=',add_bos_token=True'),
    'short': dict(tasks=['wikitext', 'sciq'], args=',add_bos_token=False,max_length=64'),
}


def model(folder, template):
    """The story model, greedy, with a tokenizer that is read as it is written: LlamaTokenizer puts its own steps in place of the file's."""
    shutil.copytree(os.path.join(SHARED, 'real', 'stories260K-hf'), folder, copy_function=shutil.copyfile)
    os.chmod(folder, 0o755)
    change(os.path.join(folder, 'generation_config.json'), {'do_sample': False}, ('max_new_tokens', 'temperature'))
    change(os.path.join(folder, 'tokenizer_config.json'), {'tokenizer_class': 'PreTrainedTokenizerFast', 'chat_template': template})
    return folder


def change(path, values, without=()):
    with open(path) as file:
        content = json.load(file)
    content.update(values)
    with open(path, 'w') as file:
        json.dump({k: v for k, v in content.items() if k not in without and v is not None}, file)


def run(case, folder):
    tasks, template, args = case.pop('tasks'), case.pop('template', None), case.pop('args', '')
    results = lm_eval.simple_evaluate(
        model='hf', model_args=f'pretrained={model(folder, template)},dtype=float32,device=cpu' + args, tasks=tasks, batch_size=8, limit=4,
        bootstrap_iters=1000, gen_kwargs='max_gen_toks=12', apply_chat_template=bool(template), confirm_run_unsafe_code=True,
        **case)
    kept = {}
    for task in tasks:
        name = task if task in results['samples'] else next(n for n in results['samples'] if task.endswith(n))
        samples = [{k: v for k, v in sample.items() if k not in ('doc', 'version', 'metadata')} for sample in results['samples'][name]]
        for sample in samples:
            # As the harness's file of samples has it; contexts by their hashes.
            sample['target'] = str(sample['target'])
            sample['arguments'] = [[hash_string(argument[0]), *(a for a in argument[1:] if isinstance(a, str))]
                                   for argument in sample['arguments']]
        kept[task] = dict(num_fewshot=results['n-shot'][name], documents=results['n-samples'][name]['original'],
                          results={k: v for k, v in results['results'][name].items() if ',' in k},
                          samples=samples)
    return kept


# ---------------------------------------------------------------- random answers
WORDS = ['yes', 'No', 'Guilty', 'guilty of Romance', 'élan', '北京', 'STOP', 'coin', 'coins', "it's", 'A', '(B)', '(C)', 'B', '12', '-7', '3.5', '$1,234.50',
         'the', 'answer', 'is', 'The answer is', 'Answer:', '#### 42', '####', 'valid', 'not plausible', 'TRUE', 'false', '<<My title>>', '<<>>', '*high*',
         '**bold text**', '* point', '- item', '***', '******', '[name]', '[address]', 'P.S.', 'P.P.S', 'p.s. bye', 'Section 1', 'SECTION 2', '"', '{"a": 1}',
         '```json', '```', 'My answer is yes.', 'hello-world', 'e.g.', 'e', 'PER: Anna, Bob', 'loc: none', 'date: today', '$$', '$']
ENDS = ['', ' ', '\n', '\n\n', '. ', ', ', '\u00a0', '\t', '! ', '?', ' \n', ' $$ ', ': ']


def answer(r):
    text = ''.join(r.choice(WORDS) + r.choice(ENDS) for _ in range(r.randrange(0, 14)))
    return r.choice(['', '', ' ', '\n', '"', '\u00a0', '*']) + text + r.choice(['', '', '"', '\u2003', '*'])


REGEX = [dict(function='regex', regex_pattern=p, group_select=g) for p, g in (
    (r'#### (\-?[0-9\.\,]+)', 0), (r'(-?[$0-9.,]{2,})|(-?[0-9]+)', -1), (r'(?<=the answer is )(.*)(?=.)', 0), (r'(?i)the answer is (\w+)', 0),
    (r'answer is \(?([ABCDEFGHIJ])\)?', 0), (r'\b(TRUE|FALSE|yes|no)\b', -1), (r'[^\W\d_]+', 0), (r'(\s+)?(coin)s?', 0))]
CHOICES = ['Guilty', 'guilty of Romance', 'élan', 'STOP', "it's", 'coin']
CHOICE = [dict(function='multi_choice_regex', group_select=g, ignore_case=c, ignore_punctuation=p, regex_pattern=r'(\([A-Z]\))',
               **(dict(regexes_to_ignore=[r'\bof\b', '$']) if x else {})) for g in (0, -1) for c in (False, True) for p in (False, True) for x in (False, True)]
PLAIN = [dict(function=f) for f in ('remove_whitespace', 'lowercase', 'uppercase', 'format_span', 'regex_pos', 'majority_vote')]
MAP = [dict(function='map', mapping_dict={'yes': '1', 'No': '0', 'A': 'B'}, default_value='?')]


def filters(r):
    import lm_eval.filters  # noqa: F401
    from lm_eval.api.registry import get_filter
    cases = []
    for config in [c for c in REGEX + PLAIN + MAP for _ in range(12)] + [c for c in CHOICE for _ in range(8)]:
        resps = [r.choice(WORDS) if config['function'] in ('map', 'majority_vote') else answer(r) for _ in range(4)]
        if config['function'] == 'regex_pos':
            resps = [f"[('{a}', 'NOUN'), ('x', '{r.choice(WORDS)}')]" for a in resps]
        kwargs = {k: v for k, v in config.items() if k != 'function'}
        applied = list(get_filter(config['function'])(**kwargs).apply([resps], [dict(choices=CHOICES)]))[0]
        cases.append(dict(filter=config, choices=CHOICES, resps=resps, expected=list(applied)))
    return cases


INSTRUCTIONS = {
    'keywords:existence': lambda r: dict(keywords=r.sample(['coin', 'yes', 'STOP', 'élan', '北京'], 2)),
    'keywords:frequency': lambda r: dict(keyword=r.choice(['coin', 'the']), frequency=r.randrange(1, 4), relation=r.choice(['at least', 'less than'])),
    'keywords:forbidden_words': lambda r: dict(forbidden_words=r.sample(['coin', 'no', 'élan', 'a', 'guilty'], 2)),
    'keywords:letter_frequency': lambda r: dict(letter=r.choice('eaiS'), let_frequency=r.randrange(1, 9), let_relation=r.choice(['at least', 'less than'])),
    'length_constraints:number_paragraphs': lambda r: dict(num_paragraphs=r.randrange(1, 4)),
    'length_constraints:number_words': lambda r: dict(num_words=r.randrange(1, 25), relation=r.choice(['at least', 'less than'])),
    'length_constraints:nth_paragraph_first_word':
        lambda r: dict(num_paragraphs=r.randrange(1, 4), nth_paragraph=r.randrange(1, 3), first_word=r.choice(['coin', 'the', "it's", 'guilty'])),
    'detectable_content:number_placeholders': lambda r: dict(num_placeholders=r.randrange(1, 3)),
    'detectable_content:postscript': lambda r: dict(postscript_marker=r.choice(['P.S.', 'P.P.S'])),
    'detectable_format:number_bullet_lists': lambda r: dict(num_bullets=r.randrange(1, 3)),
    'detectable_format:constrained_response': lambda r: {},
    'detectable_format:number_highlighted_sections': lambda r: dict(num_highlights=r.randrange(1, 4)),
    'detectable_format:multiple_sections': lambda r: dict(section_spliter=r.choice(['Section', 'SECTION']), num_sections=r.randrange(1, 3)),
    'detectable_format:json_format': lambda r: {},
    'detectable_format:title': lambda r: {},
    'combination:two_responses': lambda r: {},
    'combination:repeat_prompt': lambda r: dict(prompt_to_repeat=r.choice(['the', 'yes', '"'])),
    'startend:end_checker': lambda r: dict(end_phrase=r.choice(['coins', '42', 'STOP', '."'])),
    'punctuation:no_comma': lambda r: {},
    'startend:quotation': lambda r: {},
}


def instructions(r):
    """But for those that need NLTK's models (sentences, words in capitals) or langdetect."""
    from lm_eval.tasks.ifeval import utils
    cases = []
    for name, kwargs in INSTRUCTIONS.items():
        for i in range(24):
            text = r.choice(WORDS) * (i == 0) + answer(r)
            text = r.choice(['{"a": [1, 2]}', '```json\n{"b": null}\n```', '[]', 'nul', '3']) if name.endswith('json_format') and i % 2 else text
            text = '******'.join(answer(r) for _ in range(2)) if name.endswith('two_responses') and i % 2 else text
            doc = dict(key=i, prompt='Say the coins.', instruction_id_list=[name], kwargs=[kwargs(r)])
            cases.append(dict(doc=doc, answer=text, expected=utils.process_results(doc, [text])))
    return cases


def exact_matches(r):
    from lm_eval.api.metrics import exact_match_hf_evaluate
    cases = []
    for i in range(120):
        options = dict(ignore_case=r.random() < .5, ignore_punctuation=r.random() < .5, ignore_numbers=r.random() < .3)
        if r.random() < .5:
            options['regexes_to_ignore'] = r.sample([',', r'\$', '(?s).*#### ', r'\.$', r'\b(?:The |the |an |A |The |a |an )'], 2)
        gold = r.choice(WORDS)
        said = r.choice([gold, gold.upper(), gold + '.', 'the ' + gold, gold + ' 7', r.choice(WORDS)])
        expected = float(exact_match_hf_evaluate(predictions=[said], references=[gold], **options)['exact_match'])
        cases.append(dict(options=options, gold=gold, answer=said, expected=expected))
    return cases


def corpora(r):
    """Corpora with their scores, and some standard errors."""
    from lm_eval.api import metrics
    os.environ['DISABLE_MULTIPROC'] = '1'
    cases = []
    for i in range(110):
        items = []
        references = r.randrange(1, 3)
        for _ in range(r.randrange(1, 5)):
            words = [r.choice(WORDS) for _ in range(r.randrange(1, 12))]
            said = [w for w in words if r.random() < .8]
            r.shuffle(said) if r.random() < .4 else None
            items.append([[' '.join(words)] + [answer(r) or 'x' for _ in range(references - 1)], ' '.join(said) + r.choice(['', '.', ' &amp; -\n x', '\n'])])
        scores = {name: getattr(metrics, function)(items) for name, function in
                  (('bleu', 'bleu'), ('chrf', 'chrf'), ('chrf++', 'chrfpp'), ('ter', 'ter'))}
        error = metrics.stderr_for_metric(metrics.chrfpp, 50)(items) if i % 10 == 0 and len(items) > 1 else None
        cases.append(dict(items=items, expected=scores, error=error))
    return cases


if __name__ == '__main__':
    logging.disable(logging.WARNING)
    with open(os.path.join(ROOT, 'vectors.json'), 'w') as out:
        r = random.Random(20)
        json.dump(dict(filters=filters(r), instructions=instructions(r), exact_matches=exact_matches(r), corpora=corpora(r)), out, ensure_ascii=False)
        out.write('\n')
    with tempfile.TemporaryDirectory() as temp:
        expected = {name: run(dict(case), os.path.join(temp, name)) for name, case in CASES.items()}
    with open(os.path.join(ROOT, 'expected.json'), 'w') as out:
        json.dump(expected, out, ensure_ascii=False, default=str)
        out.write('\n')
