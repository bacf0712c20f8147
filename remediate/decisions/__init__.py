"""What to do: rules, evidence and a denial become one decision, with the reasons for it.

In: a denial, the evidence about it, a policy file. Out: `Decision`, and the plan of a whole export. Pure: imports
`entries`, `iam` and `presentation`.
"""
