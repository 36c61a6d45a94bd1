/* SPDX-License-Identifier: BSD-3-Clause */
/* iceoryx's daemon with its default configuration. Debian packages the library, but no program. */
#include <iceoryx_posh/roudi/iceoryx_roudi_app.hpp>
#include <iceoryx_posh/roudi/roudi_cmd_line_parser.hpp>

int main(int argc, char **argv)
{
	iox::config::CmdLineParser parser;
	auto args = parser.parse(argc, argv);
	iox::RouDiConfig_t config;

	if (args.has_error())
		return 2;
	if (!args->run)
		return 0;
	config.setDefaults();
	iox::roudi::IceOryxRouDiApp app(args.value(), config);
	return app.run();
}
