"""The doctor: from evidence to the one cause, its proof and its mend.

Whatever a source is (a probe from here, a configuration, a log, a live admin API), it is read into *facts*
(`doctor.facts`), so that a rule (`doctor.rules`) need not know where a fact came from. `doctor.diagnose` applies the
rules to a `Case` and puts the findings in order; `doctor.mends` turns what a finding wants changed into a patch.
"""
