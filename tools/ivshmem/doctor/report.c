/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/json.h"
#include "tools/ivshmem/json_print.h"
#include "tools/shared/table.h"
#include "tools/shared/usage.h"

#define SHOWN_LEN (2 * IVS_DOCTOR_CURE_LEN)

static void print_line(const char *label, const char *text)
{
	char shown[SHOWN_LEN];

	if (*text)
		printf("  %-6s %s\n", label, ivs_text_shown(text, shown, sizeof(shown)));
}

static void print_finding(const struct ivs_doctor_finding *finding)
{
	char shown[SHOWN_LEN];

	printf("%s: %s [%s]\n", ivs_doctor_severity_name(finding->rule->severity),
	       ivs_text_shown(finding->subject, shown, sizeof(shown)), finding->rule->id);
	print_line("found:", finding->text);
	print_line("hurts:", finding->rule->why);
	print_line("cure:", *finding->command ? finding->command : finding->advice);
	if (*finding->command)
		print_line("", finding->advice);
}

static unsigned int count(const struct ivs_doctor_findings *findings,
			  enum ivs_doctor_severity severity)
{
	unsigned int n = 0;

	for (size_t i = 0; i < findings->n; i++)
		n += findings->list[i].rule->severity == severity;
	return n;
}

static unsigned int count_regions(const struct collected *collected)
{
	unsigned int n = 0;

	for (size_t i = 0; i < collected->facts.regions_n; i++)
		n += collected->facts.regions[i].selected;
	return n;
}

static unsigned int count_vms(const struct collected *collected)
{
	unsigned int n = 0;

	for (size_t i = 0; i < collected->facts.vms_n; i++)
		n += collected->facts.vms[i].selected;
	return n;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_examined(const struct collected *collected)
{
	const struct {
		const char *what;
		size_t n;
	} kinds[] = {
		{"VM", count_vms(collected)},
		{"server", collected->facts.servers_n},
		{"domain", *collected->facts.domain.name != 0},
		{"device", collected->facts.devices_n},
	};
	unsigned int regions_n = count_regions(collected);

	printf(" (examined: %u region%s", regions_n, plural(regions_n));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (kinds[i].n)
			printf(", %zu %s%s", kinds[i].n, kinds[i].what, plural(kinds[i].n));
	}
	puts(")");
}

static void print_left(const struct collected *collected,
		       const struct ivs_doctor_findings *findings)
{
	if (findings->left_n)
		printf("not printed: %zu finding%s\n", findings->left_n, plural(findings->left_n));
	if (collected->regions_left_n)
		printf("not examined: %u region%s, because there are many: examine them by name\n",
		       collected->regions_left_n, plural(collected->regions_left_n));
	if (collected->servers_left_n)
		printf("not examined: %u server%s, because there are many, or others do not "
		       "answer: examine them with --server\n",
		       collected->servers_left_n, plural(collected->servers_left_n));
}

int report_findings(const struct collected *collected, const struct ivs_doctor_findings *findings)
{
	unsigned int errors_n = count(findings, IVS_DOCTOR_ERROR);
	unsigned int warnings_n = count(findings, IVS_DOCTOR_WARNING);

	for (size_t i = 0; i < findings->n; i++)
		print_finding(&findings->list[i]);
	if (errors_n || warnings_n)
		printf("%u error%s, %u warning%s", errors_n, plural(errors_n), warnings_n,
		       plural(warnings_n));
	else
		printf("no problems found");
	print_examined(collected);
	if (*collected->unseen)
		printf("not seen: %s\n", collected->unseen);
	print_left(collected, findings);
	return 0;
}

static json_t *rule_json(const struct ivs_doctor_rule *rule)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "rule", rule->id, "severity",
			 ivs_doctor_severity_name(rule->severity), "finds", rule->finds, "why",
			 rule->why, "cure", rule->cure, "injected", rule->injected);
}

static json_t *finding_json(const struct ivs_doctor_finding *finding)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:o, s:o}", "rule", finding->rule->id,
			 "severity", ivs_doctor_severity_name(finding->rule->severity), "subject",
			 ivs_json_text(finding->subject), "found", ivs_json_text(finding->text),
			 "why", finding->rule->why, "command", json_string(finding->command),
			 "advice", ivs_json_text(finding->advice));
}

int report_json(const struct collected *collected, const struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_facts *facts = &collected->facts;
	json_t *array = json_array();
	json_t *examined;

	examined = json_pack(
		"{s:I, s:I, s:I, s:I, s:I}", "regions", (json_int_t)count_regions(collected), "vms",
		(json_int_t)count_vms(collected), "servers", (json_int_t)facts->servers_n,
		"domains", (json_int_t)(*facts->domain.name != 0), "devices",
		(json_int_t)facts->devices_n);
	for (size_t i = 0; i < findings->n; i++)
		(void)json_array_append_new(array, finding_json(&findings->list[i]));
	return json_print(json_pack("{s:o, s:o, s:s, s:I, s:I, s:I}", "findings", array, "examined",
				    examined, "unseen", collected->unseen, "findings_left",
				    (json_int_t)findings->left_n, "regions_left",
				    (json_int_t)collected->regions_left_n, "servers_left",
				    (json_int_t)collected->servers_left_n));
}

static int add_rule(struct table *table, const struct ivs_doctor_rule *rule)
{
	int result = table_add(table, rule->id);

	if (!result)
		result = table_add(table, ivs_doctor_severity_name(rule->severity));
	return result ? result : table_add(table, rule->finds);
}

static int print_rules(void)
{
	static const struct table_column columns[] = {
		{"RULE", false}, {"SEVERITY", false}, {"FINDS", false}};
	struct table table = {.columns = columns, .columns_n = 3};
	const struct ivs_doctor_rule *rule;
	int result = 0;

	for (size_t i = 0; !result && (rule = ivs_doctor_rule_at(i)); i++)
		result = add_rule(&table, rule);
	if (!result)
		result = table_print(&table);
	table_deinit(&table);
	return result ? usage_failed("%s", strerror(-result)) : 0;
}

int report_rules(bool json)
{
	const struct ivs_doctor_rule *rule;
	json_t *array;

	if (!json)
		return print_rules();
	array = json_array();
	for (size_t i = 0; (rule = ivs_doctor_rule_at(i)); i++)
		(void)json_array_append_new(array, rule_json(rule));
	return json_print(json_pack("{s:o}", "rules", array));
}

int report_rule(const struct ivs_doctor_rule *rule, bool json)
{
	if (json)
		return json_print(rule_json(rule));
	printf("%s (%s)\n", rule->id, ivs_doctor_severity_name(rule->severity));
	print_line("finds:", rule->finds);
	print_line("hurts:", rule->why);
	print_line("cure:", rule->cure);
	return 0;
}
