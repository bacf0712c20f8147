"""What to do: decides about a denial by its evidence and by rules, and gives the reasons.

In: a denial, the evidence about it, a policy file. Out: `Decision`, and the plan of a whole export. Pure: imports
`entries`, `iam` and `presentation`.
"""
