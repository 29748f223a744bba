"""Command line of the stage that scores trained models on benchmarks."""

import sys

from activeuf_core.stage import main

if __name__ == "__main__":
    sys.exit(
        main(
            {
                "gsm8k_score": "activeuf_core.evals.harness:run",
                "minerva_math_score": "activeuf_core.evals.harness:run",
                "ifeval_score": "activeuf_core.evals.harness:run",
                "truthfulqa_score": "activeuf_core.evals.harness:run",
                "alpaca_eval_score": "activeuf_core.evals.alpaca:run",
                "rewardbench2_score": "activeuf_core.evals.rewardbench:run",
                "rewardbench_score": "activeuf_core.evals.rewardbench_pairs:run",
            }
        )
    )
